"""The clock used for purging: the earliest of three, on a store's own table."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import URL

from quart_app.session import NewRevocation, SQLAlchemyRevocationStore
from quart_app.session.purge_clock import PurgeClock, newest
from quart_app.session.store import RevocationStore

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
AHEAD = 400 * DAY


@pytest.fixture
async def store(empty_database_url: URL) -> AsyncIterator[SQLAlchemyRevocationStore]:
    url = empty_database_url
    if url.get_backend_name() == "sqlite":
        url = url.set(drivername="sqlite+aiosqlite")
    store = SQLAlchemyRevocationStore(url.render_as_string(hide_password=False), create_table=True)
    yield store
    await store.close()


def ended(sid: str, *, expired_ago: timedelta) -> NewRevocation:
    now = datetime.now(UTC)
    return NewRevocation(sid=sid, expires_at=now - expired_ago, created_at=now, reason="logged_out")


async def sids_in(store: RevocationStore) -> list[str | None]:
    return [row.sid async for rows in store.revocations_after(None) for row in rows]


async def test_rows_past_their_retention_are_deleted(
    store: SQLAlchemyRevocationStore,
) -> None:
    old = [ended(f"{number:022}", expired_ago=WEEK + DAY) for number in range(1200)]
    await store.append([*old, ended("kept", expired_ago=WEEK - DAY)])
    await store.purge(kept_for=WEEK)
    assert await sids_in(store) == ["kept"]


async def test_a_wall_clock_that_runs_ahead_deletes_nothing_early(
    store: SQLAlchemyRevocationStore,
) -> None:
    table = store.table
    store.purge_clock = PurgeClock(
        [newest(table.c.created_at, by=table.c.seq)], wall=lambda: datetime.now(UTC) + AHEAD
    )
    await store.append([ended("alive", expired_ago=-DAY)])
    await store.purge(kept_for=timedelta())
    assert await sids_in(store) == ["alive"]


async def test_an_idle_store_is_purged_late_but_never_early(
    store: SQLAlchemyRevocationStore,
) -> None:
    boot, table = [0.0], store.table
    clock = PurgeClock([newest(table.c.created_at, by=table.c.seq)], boot=lambda: boot[0])
    long_ago = datetime.now(UTC) - 30 * DAY
    await store.append(
        [NewRevocation(sid="x", expires_at=long_ago, created_at=long_ago, reason="logged_out")]
    )
    async with store.reading() as transaction:
        assert await clock.now(transaction) == long_ago + DAY
        boot[0] = DAY.total_seconds()
        assert await clock.now(transaction) == long_ago + 2 * DAY
