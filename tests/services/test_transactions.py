"""Transactions as a function: the same result on both engines, and on SQLite one call."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
from sqlalchemy import URL, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import Throttle
from quart_app.storage.database import Database

COUNT = select(func.count()).select_from(Throttle)
ROW = {"key": "k", "failures": 1, "last_failure_at": datetime(2026, 1, 1, tzinfo=UTC)}


@pytest.fixture
async def database(database_url: URL) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


async def rows_in(database: Database) -> int:
    async with database.read() as db:
        return await db.scalar(COUNT) or 0


async def add_row(db: AsyncSession) -> str:
    await db.execute(insert(Throttle.table()), ROW)
    return "added"


async def test_a_transaction_commits_and_returns_the_result(database: Database) -> None:
    assert await database.run_in_transaction(add_row) == "added"
    assert await rows_in(database) == 1


async def test_an_error_rolls_back_and_reaches_the_caller(database: Database) -> None:
    async def add_and_fail(db: AsyncSession) -> None:
        await add_row(db)
        raise LookupError("wanted")

    with pytest.raises(LookupError, match="wanted"):
        await database.run_in_transaction(add_and_fail)
    assert await rows_in(database) == 0
    assert await database.run_in_transaction(add_row) == "added"


async def test_a_cancelled_caller_rolls_back_and_leaves_no_lock(database: Database) -> None:
    caller: asyncio.Task[str]

    async def add_and_be_cancelled(db: AsyncSession) -> str:
        await add_row(db)
        loop.call_soon_threadsafe(caller.cancel)
        if database.url.get_backend_name() == "sqlite":
            is_cancelled.wait(5)  # in the connection's thread
            return "too late"
        await asyncio.sleep(5)
        return "never"

    loop, is_cancelled = asyncio.get_running_loop(), threading.Event()
    caller = asyncio.create_task(database.run_in_transaction(add_and_be_cancelled))
    while not caller.cancelling():  # noqa: ASYNC110 no event tells
        await asyncio.sleep(0.001)
    is_cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await rows_in(database) == 0
    assert await database.run_in_transaction(add_row) == "added"


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
async def test_sqlite_runs_all_statements_in_its_thread(database: Database) -> None:
    ran_in = []

    async def add_two_rows(db: AsyncSession) -> None:
        for key in ("a", "b"):
            ran_in.append(threading.current_thread())
            await db.execute(insert(Throttle.table()), ROW | {"key": key})
        ran_in.append(threading.current_thread())

    await database.run_in_transaction(add_two_rows)
    assert len(ran_in) == 3
    assert len(set(ran_in)) == 1
    assert threading.current_thread() not in ran_in


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
async def test_a_transaction_in_sqlites_thread_may_await_nothing_else(database: Database) -> None:
    async def add_and_sleep(db: AsyncSession) -> None:
        await add_row(db)
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="awaited something else"):
        await database.run_in_transaction(add_and_sleep)
    assert await rows_in(database) == 0
    with closing(sqlite3.connect(str(database.url.database), timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")  # the lock is free


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
async def test_a_snapshot_ignores_what_is_written_meanwhile(database: Database) -> None:
    async def count_beside_a_writer(db: AsyncSession) -> list[int | None]:
        before = await db.scalar(COUNT)
        with closing(sqlite3.connect(str(database.url.database), timeout=0)) as other, other:
            other.execute("DELETE FROM throttles")
        return [before, await db.scalar(COUNT)]

    await database.run_in_transaction(add_row)
    assert await database.run_in_snapshot(count_beside_a_writer) == [1, 1]
    assert await rows_in(database) == 0


async def test_an_error_in_a_snapshot_reaches_the_caller(database: Database) -> None:
    async def fail(_db: AsyncSession) -> None:
        raise LookupError("wanted")

    with pytest.raises(LookupError, match="wanted"):
        await database.run_in_snapshot(fail)
    assert await database.run_in_transaction(add_row) == "added"
