"""Daily counts of logins and failed logins, for administrators, from the audit log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from quart_app.model import AuditEvent
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.services.identity.steps.rights import require_admin
from quart_app.storage import audit as stored
from quart_app.storage.database import Database

DAYS: Final = 30
# A wrong password, and a password that was not compared because too many had failed before it.
_FAILURES: Final = (AuditEvent.LOGIN_FAILED, AuditEvent.LOGIN_THROTTLED)


@dataclass(frozen=True, kw_only=True)
class LoginDay:
    """The counts of one day (UTC). They are None for a day older than the audit log."""

    day: date
    logins: int | None
    failures: int | None


@dataclass(frozen=True, kw_only=True)
class LoginsADay:
    """Days, oldest first and today last. Nothing is known about the time before `known_since`."""

    days: Sequence[LoginDay] = ()
    known_since: datetime | None = None


@dataclass(frozen=True)
class LoginDays:
    """Counts of the login entries in the audit log."""

    database: Database
    audit: AuditWriter
    now: Callable[[], datetime]

    async def last(self, caller: Caller) -> LoginsADay:
        """Return the last DAYS days. Raises Forbidden. Raises NotFound if the user was deleted."""
        now = self.now()
        today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
        moments = [today + timedelta(days=number) for number in range(1 - DAYS, 2)]
        async with self.database.read() as db:
            await require_admin(db, caller, self.audit)
            oldest = await stored.oldest_time(db)
            counts = await stored.counts_between(db, [AuditEvent.LOGIN, *_FAILURES], moments)
        # After the retention is shortened, old entries may remain although newer ones are purged.
        known_since = max(oldest or now, now - self.audit.retention)
        days = [
            LoginDay(
                day=moment.date(),
                logins=count[AuditEvent.LOGIN] if is_known else None,
                failures=sum(count[event] for event in _FAILURES) if is_known else None,
            )
            for moment, count in zip(moments, counts, strict=False)
            for is_known in [moment.date() >= known_since.date()]
        ]
        return LoginsADay(days=days, known_since=known_since if known_since > moments[0] else None)
