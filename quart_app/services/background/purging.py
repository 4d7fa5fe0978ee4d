"""Purges of expired rows: the clock and the interval."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from quart_app.services.background.periodic import PeriodicTask
from quart_app.session.batches import DeleteSome, delete_in_batches
from quart_app.session.purge_clock import PurgeClock
from quart_app.storage.database import Database

PURGE_EVERY: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Purging:
    """Deletes rows in batches. All purges in this process share one turn: one batch at a time."""

    database: Database
    clock: PurgeClock
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def now(self) -> datetime:
        """Return the time that expiry is compared with. Raises Unavailable."""
        async with self.database.read() as db:
            return await self.clock.now(db)

    async def delete(self, delete_some: DeleteSome) -> None:
        """Delete all that the query finds. Raises Unavailable; deleted batches stay deleted."""
        await delete_in_batches(self.database.begin, delete_some, turn=self._turn)


def purge_task(subject: str, purge: Callable[[], Awaitable[None]]) -> PeriodicTask:
    """Return the task that purges every hour; `subject` is a plural for the log."""
    return PeriodicTask(
        name=f"purge_{subject.replace(' ', '_')}",
        work=purge,
        every=PURGE_EVERY,
        failure=f"Expired {subject} can't be deleted",
        recovery=f"Expired {subject} can be deleted again",
    )
