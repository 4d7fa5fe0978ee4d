"""Use case of users: change their own password."""

from dataclasses import dataclass

from quart_app.errors import InvalidInput, Unavailable
from quart_app.model import AuditEvent, EndReason, User
from quart_app.services.audit.entries import hash_of_session
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.services.identity.new_passwords import SAME_AS_CURRENT, check_new_password
from quart_app.services.identity.passwords import Passwords, is_same_password
from quart_app.services.identity.reauthentication import Reauthentication
from quart_app.services.identity.steps.alert_records import AlertRecords
from quart_app.services.identity.steps.comparing import MOST_ATTEMPTS
from quart_app.services.sessions.new_session import CONNECTION_CLAIM, NewSession
from quart_app.services.sessions.steps.issuing import SessionIssuer
from quart_app.services.sessions.steps.revoking import Revoking
from quart_app.storage import passwords as stored_passwords


@dataclass(frozen=True, kw_only=True)
class OwnPassword:
    """The password of the caller's user."""

    reauthentication: Reauthentication
    passwords: Passwords
    revoking: Revoking
    issuer: SessionIssuer
    alerts: AlertRecords
    audit: AuditWriter

    async def change(
        self, caller: Caller, *, current_password: str, new_password: str
    ) -> NewSession:
        """Replace the password. A new session replaces the caller's; all older sessions end.

        Raises BadCredentials if the current password is wrong, NotLoggedIn if the caller's session
        ended meanwhile, InvalidInput, NotFound.
        """
        for _ in range(MOST_ATTEMPTS):
            seen = await self.reauthentication.confirm(caller, current_password)
            check_new_password(new_password, seen.username, seen.email)
            if is_same_password(new_password, current_password):
                raise InvalidInput(SAME_AS_CURRENT, field="new_password")
            new_hash = await self.passwords.hash(new_password)
            session = await self._change(caller, seen, new_hash)
            if session is not None:
                return session
        raise Unavailable

    @shielded
    async def _change(self, caller: Caller, seen: User, new_hash: str) -> NewSession | None:
        async with self.revoking.begin(caller) as revoker:
            db = revoker.db
            user = await stored_passwords.replace_password(db, seen, new_hash, must_change=False)
            if user is None or not user.is_active:
                return None
            # Under the user's lock: somebody may have ended this session during the hashing.
            await revoker.refuse_ended_caller()
            await revoker.end_all(user, EndReason.PASSWORD_CHANGED)
            session = await self.issuer.issue(
                revoker,
                user,
                platform_connection_id=caller.login.extra.get(CONNECTION_CLAIM),
                remember=caller.login.remember,
            )
            await self.audit.record(
                db,
                AuditEvent.PASSWORD_CHANGED,
                caller,
                user_id=user.id,
                # The session of the caller's next actions.
                detail={"new_session": hash_of_session(session.sid)},
            )
            await self.alerts.password_changed(db, caller, session)
            return session
