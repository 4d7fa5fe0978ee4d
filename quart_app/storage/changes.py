"""Queries about what open pages are to hear of."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import Change
from quart_app.storage.locks import AdvisoryLock
from quart_app.storage.order import add_in_order


class Changed(NamedTuple):
    """A change as processes read it; with `sid` a switch, without one of the user's list."""

    seq: int
    user_id: int
    sid: str | None
    platform_connection_id: int | None
    created_at: datetime


async def add_change(
    db: AsyncSession,
    user_id: int,
    *,
    at: datetime,
    sid: str | None = None,
    platform_connection_id: int | None = None,
) -> None:
    """Insert it as the last thing that this transaction does, and tell who listens."""
    change = Change(
        user_id=user_id, sid=sid, platform_connection_id=platform_connection_id, created_at=at
    )
    await add_in_order(db, [change], lock=AdvisoryLock.CHANGES)


async def changes_from(db: AsyncSession, seq: int, *, most: int) -> list[Changed]:
    """Return at most so many, in order, beginning with number `seq` itself."""
    rows = await db.execute(_changes().where(Change.seq >= seq).order_by(Change.seq).limit(most))
    return [Changed._make(row) for row in rows]


async def newest_change(db: AsyncSession) -> Changed | None:
    """Return the last one; None where there is none."""
    row = (await db.execute(_changes().order_by(Change.seq.desc()).limit(1))).first()
    return row and Changed._make(row)


async def delete_old_changes(db: AsyncSession, *, before: datetime, most: int) -> int:
    """Delete at most so many older than a time, but not the newest; return how many they were.

    By the newest, those who follow see that it is the database that they know; and its number is
    not given again.
    """
    newest = select(func.max(Change.seq)).scalar_subquery()
    old = (
        select(Change.seq)
        .where(Change.created_at < before, Change.seq < newest)
        .order_by(Change.created_at)
        .limit(most)
    )
    result = await db.execute(delete(Change).where(Change.seq.in_(old)).returning(Change.seq))
    return len(result.all())


def _changes() -> Select[int, int, str | None, int | None, datetime]:
    return select(
        Change.seq, Change.user_id, Change.sid, Change.platform_connection_id, Change.created_at
    )
