"""Clocks: the database's, and the time that decides which rows are purged."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, DateTime, func, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import AuditEntry, Login, Revocation, UtcDateTime
from quart_app.session.purge_clock import PurgeClock, newest
from quart_app.session.revocations import boot_seconds

_SQLITE_TIME: Final = "%Y-%m-%d %H:%M:%f000"  # as SQLAlchemy writes it: text compares as time does


def time_of_dialect(dialect: str, later: timedelta = timedelta()) -> ColumnElement[datetime]:
    """Return an expression for the time when the statement runs, moved by `later`."""
    seconds = int(later.total_seconds())
    if dialect == "postgresql":
        now = func.timezone("utc", func.clock_timestamp(), type_=DateTime())
        return type_coerce(now + func.make_interval(0, 0, 0, 0, 0, 0, seconds), UtcDateTime())
    return type_coerce(func.strftime(_SQLITE_TIME, "now", f"{seconds:+} seconds"), UtcDateTime())


def database_time(db: AsyncSession) -> ColumnElement[datetime]:
    """Return the same expression for this session's database, not moved."""
    return time_of_dialect(db.get_bind().dialect.name)


def _wall_time() -> datetime:
    return datetime.now(UTC)


def new_purge_clock(
    *,
    wall: Callable[[], datetime] = _wall_time,
    boot: Callable[[], float] = boot_seconds,
) -> PurgeClock:
    """Return a clock that considers the newest login, revocation and audit entry, too."""
    newest_times = [
        newest(Login.table().c.created_at, by=Login.table().c.id),
        newest(Revocation.table().c.created_at, by=Revocation.table().c.seq),
        newest(AuditEntry.table().c.at, by=AuditEntry.table().c.id),
    ]
    return PurgeClock(newest_times, wall=wall, boot=boot)
