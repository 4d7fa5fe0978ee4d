"""Hear of the signal to stop as soon as the server does."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import current_thread, main_thread
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def called_on_the_signal_to_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in this event loop when the process is told to stop; others hear of it as before.

    A server stops by first letting finish what it answers, and an event stream does not finish by
    itself. Event loops (asyncio, uvloop) learn of a signal by a file descriptor, whatever
    handler Python has for it, so ours takes nothing from the server's. Where nobody handles a
    signal it stays so.
    """
    loop = asyncio.get_running_loop()
    with ExitStack() as handlers:
        if current_thread() is main_thread():  # elsewhere Python handles no signals
            for number in _SIGNALS:
                if callable(signal.getsignal(number)):
                    handlers.enter_context(_handled(number, loop, stop))
        yield


@contextmanager
def _handled(
    number: signal.Signals, loop: asyncio.AbstractEventLoop, stop: Callable[[], None]
) -> Iterator[None]:
    former = signal.getsignal(number)
    assert callable(former)  # noqa: S101 the caller has looked

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop)
        former(number, frame)

    signal.signal(number, handle)
    try:
        yield
    finally:
        if signal.getsignal(number) is handle:  # nobody has put another in its place
            signal.signal(number, former)
