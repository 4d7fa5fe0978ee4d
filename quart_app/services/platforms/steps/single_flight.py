"""One answer for all who ask the same question at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs one call per key at a time; callers that come meanwhile get its result or its error."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[T]] = {}

    async def run(self, key: Hashable, call: Callable[[], Awaitable[T]]) -> T:
        """Return what the call under way returns, or begin one."""

        async def begun() -> T:
            try:
                return await call()
            finally:
                del self._under_way[key]

        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(begun())
            task.add_done_callback(_retrieve_error)
        # A caller that goes away must not cancel the call for the others.
        return await asyncio.shield(task)


def _retrieve_error(task: asyncio.Task[T]) -> None:
    """Keep asyncio from logging an error that no caller was left to see."""
    if not task.cancelled():
        task.exception()
