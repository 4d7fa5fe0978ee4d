"""Queries about what has ended."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import Revocation
from quart_app.storage.locks import AdvisoryLock
from quart_app.storage.order import add_in_order


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
    await add_in_order(db, revocations, lock=AdvisoryLock.REVOCATIONS)


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
