"""Concurrent writers on SQLite wait in a queue, and do not block readers."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from quart_app.errors import Unavailable
from quart_app.settings import read_database_url
from quart_app.storage import sqlite
from quart_app.storage.database import Database

WRITERS = 40  # more than there are connections
HELD_SECONDS = 0.02
ASKED = text("SELECT 1")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(read_database_url(f"sqlite:///{tmp_path / 'test.db'}"), create=True)
    async with database.read() as db:
        await db.connection()  # creates the file
    yield database
    await database.close()


async def test_writers_take_turns_in_order_without_blocking_readers(
    database: Database,
) -> None:
    wrote: list[int] = []

    async def write(number: int) -> None:
        async with database.begin() as db:
            await db.execute(ASKED)  # only now does the transaction begin
            await asyncio.sleep(HELD_SECONDS)
            wrote.append(number)

    writing = [asyncio.create_task(write(number)) for number in range(WRITERS)]
    await asyncio.sleep(2 * HELD_SECONDS)
    async with database.read() as db:
        await db.connection()
        assert len(wrote) < WRITERS / 2
    await asyncio.gather(*writing)
    assert wrote == list(range(WRITERS))


async def test_the_lock_is_taken_soon_after_another_process_releases_it(
    database: Database,
) -> None:
    async def write() -> float:
        async with database.begin() as db:
            await db.execute(ASKED)
            return time.monotonic()

    path = database.url.database or ""
    lateness = []
    for _ in range(5):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writing = asyncio.create_task(write())
            # By now SQLite itself would retry only every 50 or 100 ms.
            await asyncio.sleep(0.25)
            assert not writing.done()
            let_go = time.monotonic()
            other.execute("COMMIT")
            lateness.append(await writing - let_go)
    assert min(lateness) < 0.02  # in the calmest moment of a busy machine


async def test_a_writer_that_waits_too_long_gets_an_error_and_the_next_one_continues(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_SECONDS", 0)
    with closing(sqlite3.connect(database.url.database or "", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            async with database.begin() as db:
                await db.execute(ASKED)
        other.execute("COMMIT")
    async with database.begin() as db:
        await db.execute(ASKED)


async def test_a_transaction_without_statements_takes_no_lock_and_leaves_none(
    database: Database,
) -> None:
    async with database.begin() as db:
        await db.connection()
    async with database.read() as db:  # on the same connection, which has no lock yet and gets none
        await db.execute(ASKED)
        with closing(sqlite3.connect(database.url.database or "", timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")


async def test_a_caller_that_ignores_a_failed_begin_is_still_in_a_transaction(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def write_and_fail() -> None:
        async with database.begin() as db:
            with pytest.raises(OperationalError):
                await db.execute(ASKED)
            other.execute("COMMIT")
            await db.execute(text("CREATE TABLE half_done (id INTEGER)"))
            raise ZeroDivisionError

    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_SECONDS", 0)
    with closing(sqlite3.connect(database.url.database or "", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ZeroDivisionError):
            await write_and_fail()
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == []
