"""Periodic tasks: repeated, retried after a failure, and ended with the process."""

import asyncio
import logging
from datetime import timedelta

import pytest

from quart_app.services.background.periodic import FailureLog, PeriodicTask, running

OFTEN = timedelta(milliseconds=1)


class Work:
    """Fails with each error of its list in turn, and counts its successes."""

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)
        self.done = 0
        self.is_begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self) -> None:
        self.is_begun.set()
        await self.may_end.wait()
        if self.failures and (failure := self.failures.pop(0)):
            raise failure
        self.done += 1


def task_of(work: Work, *, must_finish: bool = False) -> PeriodicTask:
    return PeriodicTask(
        name="purge_rows",
        work=work,
        every=OFTEN,
        failure="Rows can't be deleted",
        recovery="Rows can be deleted again",
        must_finish=must_finish,
    )


async def until_done(work: Work, times: int) -> None:
    for _ in range(10_000):
        if work.done >= times:
            return
        await asyncio.sleep(0.001)
    pytest.fail("the work was not done")


async def test_a_task_repeats_until_the_block_ends() -> None:
    work = Work()
    async with running([task_of(work)]):
        assert not work.is_begun.is_set()
        await until_done(work, 3)
    done = work.done
    await asyncio.sleep(0.02)
    assert work.done == done


async def test_the_first_failure_and_the_recovery_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    work = Work(OSError(), ValueError(), None, None, OSError())
    async with running([task_of(work)]):
        await until_done(work, 4)
    assert [(each.levelno, each.getMessage()) for each in caplog.records] == [
        (logging.ERROR, "Rows can't be deleted: OSError"),
        (logging.WARNING, "Rows can be deleted again."),
        (logging.ERROR, "Rows can't be deleted: OSError"),
        (logging.WARNING, "Rows can be deleted again."),
    ]


async def test_a_failing_task_does_not_stop_the_others() -> None:
    failing, working = Work(*[OSError()] * 1000), Work()
    async with running([task_of(failing), task_of(working)]):
        await until_done(working, 3)


@pytest.mark.parametrize("must_finish", [True, False])
async def test_a_running_task_is_finished_at_the_end_only_if_it_must_be(
    must_finish: bool,  # noqa: FBT001
) -> None:
    work = Work()
    work.may_end.clear()
    async with running([task_of(work, must_finish=must_finish)]):
        await work.is_begun.wait()
        asyncio.get_running_loop().call_later(0.05, work.may_end.set)
    assert work.done == must_finish


def test_a_failure_log_names_the_first_failure_and_the_recovery_in_each_run_of_failures(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = FailureLog(
        logging.getLogger("quart_app"), failure="Changes can't be read", recovery="They can"
    )
    for error in (None, OSError(), OSError(), None, None, TimeoutError(), None):
        with failures.logged():
            if error is not None:
                raise error
    assert [record.getMessage() for record in caplog.records] == [
        *("Changes can't be read: OSError", "They can."),
        *("Changes can't be read: TimeoutError", "They can."),
    ]
