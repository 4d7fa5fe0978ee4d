"""Clocks: the database's, the one that counts suspension, and the time by which rows are purged."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, DateTime, func, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import AuditEntry, Login, Revocation, UtcDateTime

# Linux's CLOCK_BOOTTIME goes on while the machine is suspended; CLOCK_MONOTONIC does not.
_BOOT_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
# How long nobody may have logged in before rows are purged later than they could be.
_IDLE: Final = timedelta(days=1)
_SQLITE_TIME: Final = "%Y-%m-%d %H:%M:%f000"  # as SQLAlchemy writes it: text compares as time does


def time_of_dialect(dialect: str, later: timedelta = timedelta()) -> ColumnElement[datetime]:
    """Return an expression for the time when the statement runs, moved by `later`."""
    seconds = int(later.total_seconds())
    if dialect == "postgresql":
        now = func.timezone("utc", func.clock_timestamp(), type_=DateTime())
        return type_coerce(now + func.make_interval(0, 0, 0, 0, 0, 0, seconds), UtcDateTime())
    return type_coerce(func.strftime(_SQLITE_TIME, "now", f"{seconds:+} seconds"), UtcDateTime())


def database_time(db: AsyncSession) -> ColumnElement[datetime]:
    """Return the same expression for this session's database, moved by nothing."""
    return time_of_dialect(db.get_bind().dialect.name)


async def database_now(db: AsyncSession) -> datetime:
    """Return the time by the database's clock."""
    return (await db.scalars(select(database_time(db)))).one()


def boot_seconds() -> float:
    """Return seconds by a clock that nobody sets and that counts suspension."""
    return time.clock_gettime(_BOOT_CLOCK)


def _wall_time() -> datetime:
    return datetime.now(UTC)


class PurgeClock:
    """The time by which rows are deleted, which no clock that is ahead makes later than it is.

    A deleted revocation brings an ended session back as soon as the clock is right again. So it is
    the earliest of three: the database's clock, this machine's, and the newest time that stood in
    the database when this process first looked, plus a day and what has passed since by a clock
    that nobody sets. On SQLite the first two are one clock, and the third one is what bounds it. A
    time that is too early only keeps rows for longer.
    """

    def __init__(
        self,
        wall: Callable[[], datetime] = _wall_time,
        boot: Callable[[], float] = boot_seconds,
    ) -> None:
        self._wall, self._boot = wall, boot
        self._first_seen: tuple[datetime, float] | None = None

    async def look(self, db: AsyncSession) -> None:
        """Take the newest time in the database for the beginning, unless there is one already."""
        if self._first_seen is not None:
            return
        newest = [
            moment
            for column, order in (
                (Login.created_at, Login.id),
                (Revocation.created_at, Revocation.seq),
                (AuditEntry.at, AuditEntry.id),
            )
            if (moment := await db.scalar(select(column).order_by(order.desc()).limit(1)))
        ]
        if newest:  # where nothing was ever written, there is nothing to purge either
            self._first_seen = max(newest), self._boot()

    async def now(self, db: AsyncSession) -> datetime:
        """Return the time by which rows may be deleted."""
        await self.look(db)
        times = [await database_now(db), self._wall()]
        if self._first_seen is not None:
            moment, since = self._first_seen
            times.append(moment + _IDLE + timedelta(seconds=self._boot() - since))
        return min(times)
