"""Hear of what has ended and of changes: read what is new and, on PostgreSQL, be told of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import URL

from quart_app.storage.changes import Changed, changes_from, newest_change
from quart_app.storage.clock import PurgeClock
from quart_app.storage.database import Database
from quart_app.storage.order import CHANNEL
from quart_app.storage.revocations import Ended, delete_expired_revocations, revocations_from

_BATCH = 500  # rows: some milliseconds of the event loop
_PURGE_BATCH = 500
_HEARTBEAT_SECONDS = 5.0
FOLLOWER = "quart_app revocations"  # the name of its connections, for who looks at the server's


class Feed:
    """What has ended, and changes, as the database tells them: each once, in the order of commits.

    It has a connection of its own, so that it never waits for those of requests.
    """

    def __init__(self, url: URL, purge_clock: PurgeClock | None = None) -> None:
        self._database = Database(url, name=FOLLOWER)
        self._purge_clock = purge_clock or PurgeClock()
        self._last: Ended | None = None
        self._last_change: Changed | None = None
        self._knows_changes = False

    @property
    def tells(self) -> bool:
        """Whether the database tells by itself that there is something new: see `listen`."""
        return self._database.url.get_backend_name() == "postgresql"

    async def news(self) -> AsyncIterator[list[Ended]]:
        """Yield what is new, in batches, the last of which may be empty; then it is all.

        The last row that we know must still stand there as we know it. Where it does not, the
        database was restored, replaced or purged, and everything is read anew. Raises Unavailable.
        """
        while True:
            async with self._database.read() as db:
                await self._purge_clock.look(db)
                known = self._last
                rows = await revocations_from(db, known.seq if known else 0, most=_BATCH)
            is_full = len(rows) == _BATCH
            if known is not None:
                if not rows or rows[0] != known:
                    self._last = None
                    continue
                del rows[0]
            if rows:
                self._last = rows[-1]
            yield rows
            if not is_full:
                return

    async def changes(self) -> AsyncIterator[list[Changed] | None]:
        """Yield what changed since the last time, in batches, the last of which may be empty.

        None is yielded where that can't be told, and anything may have changed: the first time, and
        where the last row that we know does not stand there as we know it. Raises Unavailable.
        """
        while True:
            known = self._last_change
            async with self._database.read() as db:
                rows = await changes_from(db, known.seq if known else 0, most=_BATCH)
                if not self._knows_changes or (known is not None and rows[:1] != [known]):
                    self._last_change, self._knows_changes = await newest_change(db), True
                    break
            is_full = len(rows) == _BATCH
            if known is not None:
                del rows[0]
            if rows:
                self._last_change = rows[-1]
            yield rows
            if not is_full:
                return
        yield None

    async def listen(self, heard: Callable[[], None]) -> None:
        """Call `heard` for each notification, until the connection fails (by any error)."""
        async with self._database.engine.connect() as connection:
            # By the driver alone, which is in autocommit mode: in a transaction nothing is heard.
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute(f"LISTEN {CHANNEL}")
            while True:
                async for _ in driver.notifies(timeout=_HEARTBEAT_SECONDS):
                    heard()
                # A dead socket is silent: only a question to the server tells.
                async with asyncio.timeout(_HEARTBEAT_SECONDS):
                    await driver.execute("SELECT 1")

    async def purge(self, *, kept_for: timedelta) -> datetime:
        """Delete, a few at a time, what expired longer than `kept_for` ago by the PurgeClock.

        Returns the time before which that was. Raises Unavailable.
        """
        async with self._database.read() as db:
            now = await self._purge_clock.now(db)
        before = now - kept_for
        await self._delete(partial(delete_expired_revocations, before=before))
        return before

    async def _delete(self, delete_some: Callable[..., Awaitable[int]]) -> None:
        """Delete in batches, for others want to write, too."""
        deleted = _PURGE_BATCH
        while deleted == _PURGE_BATCH:
            async with self._database.begin() as db:
                deleted = await delete_some(db, most=_PURGE_BATCH)
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._database.close()
