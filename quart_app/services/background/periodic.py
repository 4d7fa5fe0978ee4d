"""Periodic tasks: one way to repeat work while the process runs, and to log its failures."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, runtime_checkable

_log = logging.getLogger(__name__)


@dataclass
class TaskRecord:
    """The runs of a task in this process.

    `last_success_at` is in POSIX seconds; before the first success, it is when the process started.
    """

    successes: int = 0
    failures: int = 0
    last_success_at: float = field(default_factory=time.time)
    last_run_seconds: float = 0.0

    @contextmanager
    def of_run(self) -> Iterator[None]:
        """Record the run that the block is."""
        began = time.monotonic()
        try:
            yield
        except Exception:
            self.failures += 1
            raise
        else:
            self.successes += 1
            self.last_success_at = time.time()
        finally:
            self.last_run_seconds = time.monotonic() - began


@dataclass(frozen=True, kw_only=True)
class PeriodicTask:
    """Work that is repeated every `every`, first after one interval.

    `name` is for metrics. `failure` and `recovery` are sentences for the log, without the full
    stop. With `must_finish`, a process that stops waits for work under way; other work is
    cancelled.
    """

    name: str
    work: Callable[[], Awaitable[None]]
    every: timedelta
    failure: str
    recovery: str
    must_finish: bool = False
    record: TaskRecord = field(default_factory=TaskRecord, init=False, compare=False)


@runtime_checkable
class HasPeriodicTasks(Protocol):
    """A service with work of its own to repeat."""

    def periodic_tasks(self) -> Sequence[PeriodicTask]:
        """Return the tasks."""


def periodic_tasks_of(services: Iterable[object]) -> Sequence[PeriodicTask]:
    """Return the tasks of those services that have any."""
    return [
        task
        for service in services
        if isinstance(service, HasPeriodicTasks)
        for task in service.periodic_tasks()
    ]


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
    failures = FailureLog(_log, failure=task.failure, recovery=task.recovery)
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(task.every.total_seconds()):
                await is_over.wait()
        if is_over.is_set():
            return
        with failures.logged(), task.record.of_run():
            await task.work()


class FailureLog:
    """Logs the first of several failures of repeated work, and the recovery.

    `failure` and `recovery` are sentences without the full stop.
    """

    def __init__(self, log: logging.Logger, *, failure: str, recovery: str) -> None:
        self._log, self._failure, self._recovery = log, failure, recovery
        self._is_failing = False

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Log an error of the block, and suppress it: the work is tried again the next time."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 any failure may pass until the next time
            if not self._is_failing:
                cause = error.__cause__ or error
                self._log.error("%s: %s", self._failure, type(cause).__name__)
            self._is_failing = True
        else:
            if self._is_failing:
                self._log.warning("%s.", self._recovery)
            self._is_failing = False
