"""The database's clock, and the clock that decides which rows are purged."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, DateTime, func, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import AuditEntry, Login, Revocation, UtcDateTime
from quart_app.session.purge_clock import PurgeClock, newest
from quart_app.session.revocations import boot_seconds

_SQLITE_TIME: Final = "%Y-%m-%d %H:%M:%f000"  # SQLAlchemy's format: its text sorts like the times


def time_of_dialect(dialect: str, later: timedelta = timedelta()) -> ColumnElement[datetime]:
    """Return an SQL expression for the time when the statement runs, plus `later`."""
    seconds = int(later.total_seconds())
    if dialect == "postgresql":
        now = func.timezone("utc", func.clock_timestamp(), type_=DateTime())
        return type_coerce(now + func.make_interval(0, 0, 0, 0, 0, 0, seconds), UtcDateTime())
    return type_coerce(func.strftime(_SQLITE_TIME, "now", f"{seconds:+} seconds"), UtcDateTime())


def database_time(db: AsyncSession) -> ColumnElement[datetime]:
    """Return an SQL expression for the time when the statement runs, for the dialect of `db`."""
    return time_of_dialect(db.get_bind().dialect.name)


def _wall_time() -> datetime:
    return datetime.now(UTC)


def new_purge_clock(
    *,
    wall: Callable[[], datetime] = _wall_time,
    boot: Callable[[], float] = boot_seconds,
) -> PurgeClock:
    """Return a purge clock that also reads the newest login, revocation and audit entry."""
    newest_times = [
        newest(Login.table().c.created_at, by=Login.table().c.id),
        newest(Revocation.table().c.created_at, by=Revocation.table().c.seq),
        newest(AuditEntry.table().c.at, by=AuditEntry.table().c.id),
    ]
    return PurgeClock(newest_times, wall=wall, boot=boot)
