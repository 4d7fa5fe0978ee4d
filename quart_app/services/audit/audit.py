"""The audit log: who did what, when and from where.

An event is recorded in the transaction that causes it, so that neither exists without the other.
The log stream gets it after the commit. Refusals are only counted, and the counts are stored once
a minute: a stranger can't fill the table, and a refusal costs no transaction.
Entries hold no secrets and no typed text. Of a session they hold a hash that can't be reversed.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import SESSION_HASH_LENGTH, AuditEntry, AuditEvent
from quart_app.services.audit.addresses import counted_address, shown_address
from quart_app.services.audit.bounded_counter import BoundedCounter, CounterKey
from quart_app.services.background.periodic import PeriodicTask
from quart_app.services.background.purging import BATCH_ROWS, PAUSE_SECONDS, purge_task
from quart_app.services.caller import Caller
from quart_app.session.purge_clock import PurgeClock
from quart_app.storage import audit as stored
from quart_app.storage.clock import new_purge_clock
from quart_app.storage.database import Database

_FLUSH_EVERY: Final = timedelta(minutes=1)
_PURGE_TRIES = 10  # to get the lock; another process holds it for the moment that a batch takes
# Events that only a logged-in user can cause. The actor of other counted events is unknown.
_BY_THE_USER: Final = {AuditEvent.REFUSED_RIGHTS, AuditEvent.REAUTHENTICATION_FAILED}
_OVERFLOW: Final = {"addresses": "more than are counted one by one"}

log = logging.getLogger("quart_app.audit")
_own_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Audit:
    """Records and counts audit events, and purges them after their retention."""

    database: Database
    retention: timedelta
    purge_clock: PurgeClock = field(default_factory=new_purge_clock)
    _tally: BoundedCounter = field(default_factory=BoundedCounter)

    def periodic_tasks(self) -> Sequence[PeriodicTask]:
        """Return the flush of counted events, every minute, and the hourly purge."""
        flush = PeriodicTask(
            work=self.flush,
            every=_FLUSH_EVERY,
            failure="The audit can't be written",
            recovery="The audit can be written again",
            must_finish=True,
        )
        return [flush, purge_task("audit entries", self.purge)]

    async def record(
        self,
        db: AsyncSession,
        event: AuditEvent,
        caller: Caller,
        *,
        user_id: int | None,
        actor_user_id: int | None = None,
        sid: str | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Record an event that affects a user, in this transaction. `detail` must hold no secret.

        The actor is the caller's user unless `actor_user_id` is given: a caller who is logging in
        has no user yet.
        """
        login = caller.claims
        actor_of_caller = login.user_id if login else None
        row = {
            "event": event,
            "user_id": user_id,
            "actor_user_id": actor_of_caller if actor_user_id is None else actor_user_id,
            "address": shown_address(caller.address),
            "request_id": caller.request_id,
            "session": hash_of_session(sid or (login.sid if login else None)),
            "detail": json.dumps(detail) if detail else None,
            "count": 1,
        }
        _tell_once_committed(db, await stored.add_entries(db, [row], kept_for=self.retention))

    def count(self, event: AuditEvent, caller: Caller, *, user_id: int | None = None) -> None:
        """Count a refusal of the given user, or of the caller's. It is stored within a minute."""
        if user_id is None and caller.claims is not None:
            user_id = caller.user_id
        counted = CounterKey(event, counted_address(caller.address), user_id)
        self._tally.add(counted, request_id=caller.request_id)

    async def flush(self) -> None:
        """Store the counts. Raises Unavailable; the counts are then kept for the next time."""
        counts = self._tally.take()
        if not counts:
            return
        rows = [
            {
                "event": counted.event,
                "user_id": counted.user_id,
                "actor_user_id": counted.user_id if counted.event in _BY_THE_USER else None,
                "address": counted.address,
                "request_id": count.request_id,
                "detail": json.dumps(_OVERFLOW) if counted.is_overflow else None,
                "count": count.number,
            }
            for counted, count in counts
        ]
        try:
            async with self.database.begin() as db:
                _tell_once_committed(
                    db, await stored.add_entries(db, rows, kept_for=self.retention)
                )
        except BaseException:
            self._tally.put_back(counts)
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
        _own_log.warning(
            "The audit was not purged: another process holds the lock for that."
            " The next purge is in an hour."
        )

    async def close(self) -> None:
        """Store the last counts. If that fails, log an error."""
        try:
            await self.flush()
        except Exception:  # noqa: BLE001 whatever it is, it must not keep the process from ending
            _own_log.error("The last counts of the audit can't be written down.")


def hash_of_session(sid: str | None) -> str | None:
    """Return the hash of a session id. Nobody can find the id, 128 random bits, from its hash."""
    if sid is None:
        return None
    return hashlib.sha256(sid.encode()).hexdigest()[:SESSION_HASH_LENGTH]


def _tell_once_committed(db: AsyncSession, entries: Sequence[AuditEntry]) -> None:
    @sqlalchemy_event.listens_for(db.sync_session, "after_commit", once=True)
    def tell(_session: object) -> None:
        for entry in entries:
            log.info("%s", line_of(entry))


def line_of(entry: AuditEntry) -> str:
    """Return an entry as one line of JSON, which holds printable ASCII only."""
    said: dict[str, Any] = {
        "event": entry.event,
        "at": entry.at.isoformat(timespec="milliseconds"),
        "id": entry.id,
        "user_id": entry.user_id,
        "actor_user_id": entry.actor_user_id,
        "address": entry.address,
        "request_id": entry.request_id,
        "session": entry.session,
        "count": entry.count,
        "detail": details_of(entry) or None,
    }
    return json.dumps(said).replace("\x7f", "\\u007f")


def details_of(entry: AuditEntry) -> dict[str, Any]:
    """Return the further details of an entry, by name.

    Entries from other software may hold anything. Text that is not a JSON object is returned as
    the only value, named `detail`.
    """
    if not entry.detail:
        return {}
    try:
        details = json.loads(entry.detail)
    except (ValueError, RecursionError):
        details = None
    return details if isinstance(details, dict) else {"detail": entry.detail}
