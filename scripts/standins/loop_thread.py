"""An event loop in a thread, where peers are served beside tests or the demonstration."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

_PATIENCE_SECONDS = 20


class LoopThread:
    """An event loop that runs in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="peers", daemon=True)
        self._thread.start()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run a coroutine there, and do not wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there, and return its result."""
        return self.start(coroutine).result(_PATIENCE_SECONDS)

    def call(self, function: Callable[[], object]) -> None:
        """Call a function there, soon."""
        self._loop.call_soon_threadsafe(function)

    def close(self) -> None:
        """Stop the loop."""
        self.call(self._loop.stop)
        self._thread.join(_PATIENCE_SECONDS)
        self._loop.close()


@contextmanager
def loop_thread() -> Iterator[LoopThread]:
    """Give an event loop until the block ends."""
    thread = LoopThread()
    try:
        yield thread
    finally:
        thread.close()
