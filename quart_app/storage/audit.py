"""Queries about the audit log. It grows and is read from its end; no query changes a row."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any

from sqlalchemy import (
    Integer,
    bindparam,
    column,
    delete,
    func,
    insert,
    select,
    values,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert

from quart_app.model import AuditEntry, UtcDateTime
from quart_app.storage.clock import database_time, time_of_dialect
from quart_app.storage.locks import AdvisoryLock, try_to_take_lock

# Concurrent transactions may write this many rows whose times are not in the order of ids.
_OUT_OF_ORDER = 1000


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A filter of entries; None means any. Times are aware, and `until` is exclusive."""

    event: str | None = None
    user_id: int | None = None
    actor_user_id: int | None = None
    address: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def add_entries(
    db: AsyncSession, rows: Sequence[dict[str, Any]], *, kept_for: timedelta
) -> list[AuditEntry]:
    """Insert rows with the database's time, and return them."""
    add = _add_entry(db.get_bind().dialect.name, kept_for)
    entries = []
    for row in rows:
        values = _NO_ENTRY | row
        (written,) = await db.execute(add, values)
        entries.append(AuditEntry(**values, **written._mapping))  # noqa: SLF001 its only name
    return entries


_NO_ENTRY = dict.fromkeys(
    column.name for column in AuditEntry.table().c if column.name not in {"id", "at", "keep_until"}
)


@cache
def _add_entry(dialect: str, kept_for: timedelta) -> ReturningInsert[Any]:
    """Return the statement of each login: building it costs more than executing it."""
    table = AuditEntry.table()
    times = {
        "at": time_of_dialect(dialect),
        "keep_until": time_of_dialect(dialect, kept_for),
    }
    given: dict[str, Any] = {name: bindparam(name) for name in _NO_ENTRY}
    return insert(table).values(given | times).returning(table.c.id, *(table.c[at] for at in times))


async def entries_before(
    db: AsyncSession, wanted: Wanted, before: int | None, *, most: int
) -> list[AuditEntry]:
    """Return at most `most` entries, the newest first, with ids smaller than `before`."""
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(most)
    if before is not None:
        query = query.where(AuditEntry.id < before)
    if wanted.event is not None:
        query = query.where(AuditEntry.event == wanted.event)
    if wanted.user_id is not None:
        query = query.where(AuditEntry.user_id == wanted.user_id)
    if wanted.actor_user_id is not None:
        query = query.where(AuditEntry.actor_user_id == wanted.actor_user_id)
    if wanted.address is not None:
        query = query.where(AuditEntry.address == wanted.address)
    # Entries are found by id, which rises with the time. So a day is looked up once, and no query
    # scans all newer entries.
    if wanted.since is not None:
        first = await _first_id_since(db, wanted.since)
        if first is None:
            return []
        query = query.where(AuditEntry.id >= first, AuditEntry.at >= wanted.since)
    if wanted.until is not None:
        last = await _last_id_until(db, wanted.until)
        if last is None:
            return []
        query = query.where(AuditEntry.id <= last, AuditEntry.at < wanted.until)
    return list(await db.scalars(query))


async def _first_id_since(db: AsyncSession, at: datetime) -> int | None:
    near = (
        select(AuditEntry.id)
        .where(AuditEntry.at >= at)
        .order_by(AuditEntry.at)
        .limit(_OUT_OF_ORDER)
        .subquery()
    )
    first: int | None = await db.scalar(select(func.min(near.c.id)))
    return first


async def _last_id_until(db: AsyncSession, at: datetime) -> int | None:
    near = (
        select(AuditEntry.id)
        .where(AuditEntry.at < at)
        .order_by(AuditEntry.at.desc())
        .limit(_OUT_OF_ORDER)
        .subquery()
    )
    last: int | None = await db.scalar(select(func.max(near.c.id)))
    return last


async def counts_between(
    db: AsyncSession, events: Collection[str], moments: Sequence[datetime]
) -> list[dict[str, int]]:
    """Return how often each of these events happened between each moment and the next one.

    It is one statement. Each number comes from one range of a covering index.
    """
    spans = (
        values(
            column("number", Integer),
            column("since", UtcDateTime()),
            column("until", UtcDateTime()),
            name="spans",
        )
        .data([(number, *span) for number, span in enumerate(pairwise(moments))])
        .cte()
    )
    sums = [
        select(func.coalesce(func.sum(AuditEntry.count), 0))
        .where(
            AuditEntry.event == event,
            AuditEntry.at >= spans.c.since,
            AuditEntry.at < spans.c.until,
        )
        .scalar_subquery()
        .label(event)
        for event in events
    ]
    rows = await db.execute(select(*sums).select_from(spans).order_by(spans.c.number))
    return [dict(row) for row in rows.mappings()]


async def oldest_time(db: AsyncSession) -> datetime | None:
    """Return the time of the oldest entry that is still in the table."""
    return await db.scalar(select(AuditEntry.at).order_by(AuditEntry.at).limit(1))


async def delete_entries_past_their_time(
    db: AsyncSession, *, most: int, by: datetime | None = None
) -> int | None:
    """Delete at most `most` entries that expired by the database's clock; return how many.

    With `by`, they must have expired at that time, too. Returns None if another process is
    deleting entries.
    """
    if not await try_to_take_lock(db, AdvisoryLock.PURGE_AUDIT):
        return None
    over = (
        select(AuditEntry.id)
        .where(AuditEntry.keep_until <= database_time(db))
        .order_by(AuditEntry.keep_until)
        .limit(most)
    )
    if by is not None:
        over = over.where(AuditEntry.keep_until <= by)
    result = await db.execute(
        delete(AuditEntry)
        .where(AuditEntry.id.in_(over))
        .returning(AuditEntry.id)
        .execution_options(synchronize_session=False)
    )
    return len(result.all())
