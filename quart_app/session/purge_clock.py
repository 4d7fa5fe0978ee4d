"""The time before which rows may be deleted, which a clock that is ahead does not move."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, select, text

from quart_app.session.revocations import boot_seconds
from quart_app.session.table import Transaction, UtcDateTime, is_postgresql

# How long nothing may have been written before rows are deleted later than they could be.
_IDLE: Final = timedelta(days=1)


def _wall_time() -> datetime:
    return datetime.now(UTC)


def newest(
    moment: ColumnElement[datetime], *, by: ColumnElement[int]
) -> Select[tuple[datetime] | Any]:
    """Return a query for the `moment` in a table's newest row, by a number that grows."""
    return select(moment).order_by(by.desc()).limit(1)


async def database_now(transaction: Transaction) -> datetime:
    """Return the time by the database's clock, which all processes share."""
    clock = (
        "SELECT clock_timestamp() AT TIME ZONE 'utc' AS now"
        if is_postgresql(transaction)
        else "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now') AS now"
    )
    statement = text(clock).columns(now=UtcDateTime())
    now: datetime = (await transaction.execute(statement)).scalar_one()
    return now


class PurgeClock:
    """The time that decides which rows are deleted: the earliest of three clocks.

    A revocation that is deleted too early brings an ended session back as soon as a clock that was
    ahead is right again. So the time is the earliest of the database's clock, this machine's, and
    the newest time that was in the database when this process first looked, plus a day and the time
    passed since by a clock that nobody sets. On SQLite the first two are one clock, and the third
    is its bound. A time that is too early only keeps rows for longer.

    `newest_times` are queries for the newest times in the database, see `newest`.
    """

    def __init__(
        self,
        newest_times: Sequence[Select[Any]],
        *,
        wall: Callable[[], datetime] = _wall_time,
        boot: Callable[[], float] = boot_seconds,
    ) -> None:
        self._newest_times = newest_times
        self._wall, self._boot = wall, boot
        self._first_seen: tuple[datetime, float] | None = None

    async def look(self, transaction: Transaction) -> None:
        """Note the newest time in the database, unless one was noted before.

        A process that follows the database looks before it writes: its own clock may be ahead.
        """
        if self._first_seen is not None:
            return
        found = [(await transaction.execute(query)).scalar() for query in self._newest_times]
        moments = [moment for moment in found if moment is not None]
        if moments:  # where nothing was ever written, there is nothing to delete either
            self._first_seen = max(moments), self._boot()

    async def now(self, transaction: Transaction) -> datetime:
        """Return the time; rows that expired long enough before it may be deleted."""
        await self.look(transaction)
        times = [await database_now(transaction), self._wall()]
        if self._first_seen is not None:
            moment, since = self._first_seen
            times.append(moment + _IDLE + timedelta(seconds=self._boot() - since))
        return min(times)
