"""Queries about what has ended."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import Revocation, UtcDateTime
from quart_app.storage.order import add_in_order

# One transaction that ends sessions at a time; the number is ours, chosen at random.
_ORDER_LOCK = 7225838017654202


class Ended(NamedTuple):
    """A revocation as processes read it; just one of sid, user_id and not_before is given."""

    seq: int
    sid: str | None
    user_id: int | None
    epoch: int | None
    not_before: datetime | None
    expires_at: datetime
    reason: str | None = None


async def add_revocations(db: AsyncSession, revocations: Sequence[Revocation]) -> None:
    """Insert them as the last thing that this transaction does, and tell who listens."""
    await add_in_order(db, revocations, lock=_ORDER_LOCK)


async def revocations_from(db: AsyncSession, seq: int, *, most: int) -> list[Ended]:
    """Return at most so many, in order, beginning with number `seq` itself."""
    rows = await db.execute(
        select(
            Revocation.seq,
            Revocation.sid,
            Revocation.user_id,
            Revocation.epoch,
            Revocation.not_before,
            Revocation.expires_at,
            Revocation.reason,
        )
        .where(Revocation.seq >= seq)
        .order_by(Revocation.seq)
        .limit(most)
    )
    return [Ended._make(row) for row in rows]


async def delete_expired_revocations(db: AsyncSession, *, before: datetime, most: int) -> int:
    """Delete at most so many that expired before a time; return how many they were."""
    expired = (
        select(Revocation.seq)
        .where(Revocation.expires_at < before)
        .order_by(Revocation.expires_at)
        .limit(most)
    )
    result = await db.execute(
        delete(Revocation).where(Revocation.seq.in_(expired)).returning(Revocation.seq)
    )
    return len(result.all())


async def database_now(db: AsyncSession) -> datetime:
    """Return the time by the database's clock, which all processes share."""
    clock = (
        "SELECT clock_timestamp() AT TIME ZONE 'utc' AS now"
        if db.get_bind().dialect.name == "postgresql"
        else "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now') AS now"
    )
    now: datetime = (await db.scalars(text(clock).columns(now=UtcDateTime()))).one()
    return now
