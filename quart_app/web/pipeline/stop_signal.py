"""A callback for the signal to stop, at the same time as the server."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import current_thread, main_thread
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def called_on_the_signal_to_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in this event loop on SIGTERM or SIGINT; other handlers still run.

    A stopping server first waits for open answers, but an event stream never finishes unaided.
    Event loops (asyncio, uvloop) receive signals through a file descriptor, independent of Python's
    handler, so our handler does not replace the server's. A signal without a handler stays without.
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
