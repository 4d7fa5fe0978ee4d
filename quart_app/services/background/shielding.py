"""Use cases that finish although their request is cancelled.

Quart cancels the handler of a client that goes away. A logout under way must still end the session
everywhere, and this process must still learn of it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_running: set[asyncio.Task[Any]] = set()  # the event loop itself holds a task only weakly


def shielded(
    use_case: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let the use case finish when its caller is cancelled."""

    @wraps(use_case)
    async def carried_through(*args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.shield(_begun(use_case(*args, **kwargs)))

    return carried_through


def run_in_background(work: Coroutine[Any, Any, None]) -> None:
    """Begin work that no request waits for. The process waits for it before it ends."""
    _begun(work)


def _begun(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    task = asyncio.create_task(work)
    _running.add(task)
    task.add_done_callback(_forget)
    return task


def _forget(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # retrieve it, so that asyncio does not log that nobody did


async def drain() -> None:
    """Wait for every shielded use case that still runs in this event loop."""
    loop = asyncio.get_running_loop()
    ours = [task for task in _running if task.get_loop() is loop]
    await asyncio.gather(*ours, return_exceptions=True)
