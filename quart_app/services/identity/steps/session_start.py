"""Begin the session of a user whose password was compared: the last step of every login."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from quart_app.errors import TooManyAttempts
from quart_app.model import AuditEvent, EndReason, User
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.services.identity.steps.alert_records import AlertRecords
from quart_app.services.identity.steps.throttle import Attempt, Throttling
from quart_app.services.sessions.new_session import NewSession
from quart_app.services.sessions.steps.issuing import SessionIssuer
from quart_app.services.sessions.steps.revoking import Revoking, SessionRevoker
from quart_app.session.claims import SessionRef
from quart_app.storage import passwords as stored_passwords
from quart_app.storage.session_starts import session_start_facts

_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class SessionStart:
    """Begins sessions, at most `logins_per_hour` of one user within an hour."""

    revoking: Revoking
    issuer: SessionIssuer
    alerts: AlertRecords
    audit: AuditWriter
    throttling: Throttling
    logins_per_hour: int
    now: Callable[[], datetime]

    @shielded
    async def begin(
        self,
        caller: Caller,
        seen: User,
        *,
        new_hash: str,
        remember: bool,
        replaced: Sequence[SessionRef],
        attempt: Attempt,
    ) -> NewSession | None:
        """Return a session, or None if the user has changed since they were read.

        `new_hash` replaces the hash of a one-time password. Raises TooManyAttempts.
        """

        async def begin(revoker: SessionRevoker) -> NewSession | None:
            db = revoker.db
            user = await stored_passwords.record_login(
                db,
                seen,
                new_hash=new_hash,
                is_new_password=seen.must_change_password,
                at=self.now(),
            )
            if user is None:
                return None
            facts = await session_start_facts(
                db, user, since=self.now() - _HOUR, n=self.logins_per_hour
            )
            self._check_logins(facts.nth_newest_login_at)
            if user.must_change_password:
                await self._record_new_password(revoker, user)
            await revoker.end_each(replaced, EndReason.REPLACED)
            session = await self._issue(
                revoker, user, facts.platform_connection_id, remember=remember
            )
            await self._alert(revoker, user, session)
            # This is last because all logins from one address lock the same row here.
            await self.throttling.succeed(db, attempt)
            return session

        return await self.revoking.run_in_transaction(caller, begin)

    def _check_logins(self, nth_newest_at: datetime | None) -> None:
        """Limit how often a user, whose row is locked, logs in. Raises TooManyAttempts.

        Only successful logins count, so nobody without the password can use up the limit.
        """
        if nth_newest_at is not None:
            wait = nth_newest_at + _HOUR - self.now()
            raise TooManyAttempts(
                f"You have logged in {self.logins_per_hour} times within an hour.",
                retry_after_seconds=max(1, math.ceil(wait.total_seconds())),
            )

    async def _record_new_password(self, revoker: SessionRevoker, user: User) -> None:
        """Void what an older password allowed: the user has replaced a one-time password."""
        stored_passwords.forget_reset_link(user)
        await self.audit.record(
            revoker.db,
            AuditEvent.PASSWORD_CHANGED,
            revoker.caller,
            user_id=user.id,
            actor_user_id=user.id,
        )
        user.device_epoch += 1  # as with every change

    async def _issue(
        self,
        revoker: SessionRevoker,
        user: User,
        platform_connection_id: int | None,
        *,
        remember: bool,
    ) -> NewSession:
        session = await self.issuer.issue(
            revoker,
            user,
            platform_connection_id=platform_connection_id,
            remember=remember,
        )
        await self.audit.record(
            revoker.db,
            AuditEvent.LOGIN,
            revoker.caller,
            user_id=user.id,
            actor_user_id=user.id,
            sid=session.sid,
        )
        return session

    async def _alert(self, revoker: SessionRevoker, user: User, session: NewSession) -> None:
        """Alert the user's other devices to a new password, or else to a new device."""
        caller = revoker.caller
        if user.must_change_password:
            user.must_change_password = False
            await self.alerts.password_changed(revoker.db, caller, session)
        elif caller.device_id_for(user) is None:
            await self.alerts.new_device(revoker.db, caller, session)
