"""The numbers of all PostgreSQL advisory locks.

SQLite needs no such locks, because only one transaction writes at a time.
"""

from enum import IntEnum, unique

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.session.table import COMMIT_ORDER_LOCK


@unique
class AdvisoryLock(IntEnum):
    """Work that only one transaction does at a time. The numbers are random.

    Older and newer processes must take the same lock for the same work. Never change a number, and
    never reuse one.
    """

    UPGRADE_SCHEMA = 7225838017654201
    # Writes revocations. The session library takes this lock.
    REVOCATIONS = COMMIT_ORDER_LOCK
    # Writes changes. A separate lock, so that a logout never waits for a switch.
    CHANGES = 7225838017654203
    # Older versions purge the audit log with the number of CHANGES. Two purges at once do no harm.
    PURGE_AUDIT = 7225838017654204
    # Creates users, whose names must be unique in every spelling.
    CREATE_USERS = 7225838017654231
    # Registers this application at Fediverse servers, whose registrations are counted.
    REGISTER_APPS = 7225838017654238


def is_postgresql(db: AsyncSession) -> bool:
    """Return whether the database has advisory locks."""
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
