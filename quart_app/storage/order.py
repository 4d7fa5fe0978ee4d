"""Write rows for those who follow a table by its numbers: in the order of commits."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import Base
from quart_app.storage.locks import AdvisoryLock, is_postgresql, take_lock

CHANNEL = "quart_app_revocations"  # PostgreSQL's NOTIFY; older processes listen to just this


async def add_in_order(db: AsyncSession, rows: Sequence[Base], *, lock: AdvisoryLock) -> None:
    """Insert them as the last thing that this transaction does, and tell who listens.

    A sequence's numbers become visible out of order where the transaction that drew the lower one
    commits later; who has read the higher would never see it. So on PostgreSQL one transaction at
    a time, of those with the same lock, goes from here to its commit, and the order of the numbers
    is the order of commits. On SQLite whoever writes is alone anyway.
    """
    await db.flush()
    await take_lock(db, lock)
    db.add_all(rows)
    await db.flush()
    if is_postgresql(db):  # delivered with the commit
        await db.execute(select(func.pg_notify(CHANNEL, "")))
