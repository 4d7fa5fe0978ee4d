"""Changes that open pages are notified of, written and read in the order of commits."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import Change
from quart_app.session.table import notify
from quart_app.storage.database import Database
from quart_app.storage.locks import AdvisoryLock, take_lock

_BATCH: Final = 500  # rows: some milliseconds of the event loop


class ChangeRow(NamedTuple):
    """A change as processes read it: with `sid` a switch, otherwise a change of the user's list."""

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
    """Insert a change as the last statement of this transaction, and notify followers.

    The lock makes `seq` follow the order of commits, as for revocations.
    """
    change = Change(
        user_id=user_id, sid=sid, platform_connection_id=platform_connection_id, created_at=at
    )
    await db.flush()
    await take_lock(db, AdvisoryLock.CHANGES)
    db.add(change)
    await db.flush()
    await notify(db)


async def changes_from(db: AsyncSession, seq: int, *, most: int) -> list[ChangeRow]:
    """Return at most `most` changes in order, beginning with number `seq` itself."""
    rows = await db.execute(_changes().where(Change.seq >= seq).order_by(Change.seq).limit(most))
    return [ChangeRow._make(row) for row in rows]


async def newest_change(db: AsyncSession) -> ChangeRow | None:
    """Return the newest change; None if the table is empty."""
    row = (await db.execute(_changes().order_by(Change.seq.desc()).limit(1))).first()
    return row and ChangeRow._make(row)


async def delete_old_changes(db: AsyncSession, *, before: datetime, most: int) -> int:
    """Delete at most `most` changes older than a time, except the newest; return how many.

    Followers recognize the database by the newest row. Keeping it also prevents SQLite from
    reusing its number.
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


class ChangeFeed:
    """Reads each change once, in the order of commits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last: ChangeRow | None = None
        self._has_begun = False

    async def changes(self) -> AsyncIterator[list[ChangeRow] | None]:
        """Yield the changes since the last time, in batches. The last batch may be empty.

        Yields None if anything may have changed: on the first call, and when the last row that was
        read is no longer in the table. Raises Unavailable.
        """
        while True:
            known = self._last
            async with self._database.read() as db:
                rows = await changes_from(db, known.seq if known else 0, most=_BATCH)
                if not self._has_begun or (known is not None and rows[:1] != [known]):
                    self._last, self._has_begun = await newest_change(db), True
                    break
            is_full = len(rows) == _BATCH
            if known is not None:
                del rows[0]
            if rows:
                self._last = rows[-1]
            yield rows
            if not is_full:
                return
        yield None
