"""The writer of the audit log: it records events in open transactions, and counts refusals."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import AuditEntry, AuditEvent
from quart_app.services.audit.addresses import counted_address, shown_address
from quart_app.services.audit.bounded_counter import BoundedCounter, Count, CounterKey
from quart_app.services.audit.entries import fields_of, hash_of_session, line_of, log
from quart_app.services.caller import Caller
from quart_app.storage import audit as stored

# Events that only a logged-in user can cause. The actor of other counted events is unknown.
_BY_THE_USER: Final = {AuditEvent.REFUSED_RIGHTS, AuditEvent.REAUTHENTICATION_FAILED}
_OVERFLOW: Final = {"addresses": "more than are counted one by one"}


@dataclass(frozen=True)
class AuditWriter:
    """Records audit events, which are kept for `retention`, and counts refusals in memory."""

    retention: timedelta
    counter: BoundedCounter = field(default_factory=BoundedCounter)

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
        _log_once_committed(db, await stored.add_entries(db, [row], kept_for=self.retention))

    def count(self, event: AuditEvent, caller: Caller, *, user_id: int | None = None) -> None:
        """Count a refusal of the given user, or of the caller's. It is stored within a minute."""
        if user_id is None and caller.claims is not None:
            user_id = caller.user_id
        counted = CounterKey(event, counted_address(caller.address), user_id)
        self.counter.add(counted, request_id=caller.request_id)

    async def record_counts(
        self, db: AsyncSession, counts: Sequence[tuple[CounterKey, Count]]
    ) -> None:
        """Record refusals that were counted, one entry for each count."""
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
        _log_once_committed(db, await stored.add_entries(db, rows, kept_for=self.retention))


def _log_once_committed(db: AsyncSession, entries: Sequence[AuditEntry]) -> None:
    @sqlalchemy_event.listens_for(db.sync_session, "after_commit", once=True)
    def write_lines(_session: object) -> None:
        for entry in entries:
            in_json = {"message": f"audit: {entry.event}", "audit": fields_of(entry)}
            log.info("%s", line_of(entry), extra={"fields": in_json})
