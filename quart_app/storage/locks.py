"""PostgreSQL's advisory locks: the one place that knows their numbers.

SQLite needs no such locks: there only one transaction writes at a time.
"""

from enum import IntEnum, unique

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.session.table import COMMIT_ORDER_LOCK


@unique
class AdvisoryLock(IntEnum):
    """Work that only one transaction does at a time; the numbers were chosen at random.

    Older and newer processes must take the same lock for the same work. So numbers never change,
    and a number that is no longer used is not reused.
    """

    UPGRADE_SCHEMA = 7225838017654201
    # Writes revocations, and so ends sessions. The session library takes it.
    REVOCATIONS = COMMIT_ORDER_LOCK
    # Writes changes. Not the lock of revocations: a logout never waits for a switch.
    CHANGES = 7225838017654203
    # Older versions took the number of CHANGES to purge the audit. Purging beside one of them does
    # no harm, as a row is only deleted once.
    PURGE_AUDIT = 7225838017654204
    # Creates users, whose names are compared in every spelling.
    CREATE_USERS = 7225838017654231


def is_postgresql(db: AsyncSession) -> bool:
    """Tell whether the database has advisory locks."""
    return db.get_bind().dialect.name == "postgresql"


async def take_lock(db: AsyncSession, lock: AdvisoryLock) -> None:
    """Wait for the lock and hold it until this transaction ends."""
    if is_postgresql(db):
        await db.execute(select(func.pg_advisory_xact_lock(int(lock))))


async def try_to_take_lock(db: AsyncSession, lock: AdvisoryLock) -> bool:
    """Take the lock until this transaction ends, if it is free; return whether we hold it."""
    if not is_postgresql(db):
        return True
    return bool(await db.scalar(select(func.pg_try_advisory_xact_lock(int(lock)))))
