"""The audit log: who did what, when and from where.

An event is recorded in the transaction that causes it, so that neither exists without the other.
The log stream gets it after the commit. Refusals are only counted, and the counts are stored once
a minute: a stranger can't fill the table, and a refusal costs no transaction.
Entries hold no secrets and no typed text. Of a session they hold a hash that can't be reversed.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from quart_app.model import AuditEvent
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.background.periodic import PeriodicTask
from quart_app.services.background.purging import purge_task
from quart_app.services.caller import Caller
from quart_app.session.batches import BATCH_ROWS, PAUSE_SECONDS
from quart_app.session.purge_clock import PurgeClock
from quart_app.storage import audit as stored
from quart_app.storage.clock import new_purge_clock
from quart_app.storage.database import Database

_FLUSH_EVERY: Final = timedelta(minutes=1)
_PURGE_TRIES = 10  # to get the lock; another process holds it for the moment that a batch takes

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Audit:
    """Counts refusals, stores the counts, and purges entries after their retention."""

    database: Database
    writer: AuditWriter
    purge_clock: PurgeClock = field(default_factory=new_purge_clock)

    def periodic_tasks(self) -> Sequence[PeriodicTask]:
        """Return the flush of counted events, every minute, and the hourly purge."""
        flush = PeriodicTask(
            name="flush_audit",
            work=self.flush,
            every=_FLUSH_EVERY,
            failure="The audit can't be written",
            recovery="The audit can be written again",
            must_finish=True,
        )
        return [flush, purge_task("audit entries", self.purge)]

    def count(self, event: AuditEvent, caller: Caller, *, user_id: int | None = None) -> None:
        """Count a refusal of the given user, or of the caller's. It is stored within a minute."""
        self.writer.count(event, caller, user_id=user_id)

    async def flush(self) -> None:
        """Store the counts. Raises Unavailable; the counts are then kept for the next time."""
        counts = self.writer.counter.take()
        if not counts:
            return
        try:
            async with self.database.begin() as db:
                await self.writer.record_counts(db, counts)
        except BaseException:
            self.writer.counter.put_back(counts)
            raise

    async def purge(self) -> None:
        """Delete entries past their retention, a few at a time. Raises Unavailable.

        Only one process purges at a time. If other processes always hold the lock, a warning is
        logged.
        """
        async with self.database.read() as db:
            by = await self.purge_clock.now(db)
        tries = _PURGE_TRIES
        while tries:
            async with self.database.begin() as db:
                deleted = await stored.delete_entries_past_their_time(db, most=BATCH_ROWS, by=by)
            if deleted is None:
                tries -= 1
            elif deleted < BATCH_ROWS:
                return
            else:
                tries = _PURGE_TRIES
            await asyncio.sleep(PAUSE_SECONDS)
        _log.warning(
            "The audit log was not purged, because another process holds the lock."
            " The next purge is in an hour."
        )

    async def close(self) -> None:
        """Store the last counts. If that fails, log an error."""
        try:
            await self.flush()
        except Exception:  # noqa: BLE001 whatever it is, it must not keep the process from ending
            _log.error("The last counts of the audit can't be written down.")
