"""Periodic tasks: one way to repeat work while the process runs, and to log its failures."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PeriodicTask:
    """Work that is repeated every `every`, first after one interval.

    `failure` and `recovery` are sentences for the log, without the full stop. With `must_finish`, a
    process that stops waits for work under way; other work is cancelled.
    """

    work: Callable[[], Awaitable[None]]
    every: timedelta
    failure: str
    recovery: str
    must_finish: bool = False


@asynccontextmanager
async def running(tasks: Iterable[PeriodicTask]) -> AsyncIterator[None]:
    """Repeat each task's work while the block lasts. A failure is tried again the next time."""
    is_over = asyncio.Event()
    started = [(each, asyncio.create_task(_repeat(each, is_over))) for each in tasks]
    try:
        yield
    finally:
        is_over.set()
        for each, task in started:
            if not each.must_finish:
                task.cancel()
        await asyncio.gather(*(task for _, task in started), return_exceptions=True)


async def _repeat(task: PeriodicTask, is_over: asyncio.Event) -> None:
    """Log the first of several failures, and the recovery."""
    is_failing = False
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(task.every.total_seconds()):
                await is_over.wait()
        if is_over.is_set():
            return
        try:
            await task.work()
        except Exception as error:  # noqa: BLE001 any failure may pass until the next time
            if not is_failing:
                cause = error.__cause__ or error
                _log.error("%s: %s", task.failure, type(cause).__name__)
            is_failing = True
        else:
            if is_failing:
                _log.warning("%s.", task.recovery)
            is_failing = False
