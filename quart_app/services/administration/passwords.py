"""Use cases of administrators and the operator: set users' passwords, or let them do it."""

from dataclasses import dataclass

from quart_app.errors import Unavailable
from quart_app.model import AuditEvent, EndReason, User
from quart_app.services.administration.steps.targets import user_to_change, user_to_show
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.services.identity.authorization import Authorization
from quart_app.services.identity.new_passwords import check_new_password, generated_password
from quart_app.services.identity.passwords import Passwords
from quart_app.services.identity.reauthentication import Reauthentication
from quart_app.services.identity.reset_tokens import RESET_LINK_LIFETIME, ResetLink
from quart_app.services.identity.steps.alert_records import AlertRecords
from quart_app.services.identity.steps.comparing import MOST_ATTEMPTS
from quart_app.services.identity.steps.reset_link_issuing import ResetLinkIssuer
from quart_app.services.sessions.steps.revoking import Revoking
from quart_app.storage import passwords as stored_passwords
from quart_app.storage.database import Database


@dataclass(frozen=True, kw_only=True)
class UserPasswords:
    """Passwords of all users. Every method raises what a change of `Users` raises."""

    database: Database
    revoking: Revoking
    authorization: Authorization
    reauthentication: Reauthentication
    passwords: Passwords
    reset_links: ResetLinkIssuer
    alerts: AlertRecords
    audit: AuditWriter

    async def make_reset_link(
        self, caller: Caller, ref: UserRef, *, current_password: str | None = None
    ) -> ResetLink:
        """Return a new link for a user. Raises UserInactive, NotFound."""
        await self.reauthentication.require_fresh_login(caller, current_password)
        async with self.database.begin() as db:
            user = await user_to_change(db, caller, ref, self.audit)
            return await self.reset_links.issue(db, caller, user, lifetime=RESET_LINK_LIFETIME)

    async def set(
        self,
        caller: Caller,
        ref: UserRef,
        password: str | None,
        *,
        for_legacy: bool = False,
        current_password: str | None = None,
    ) -> str | None:
        """Set a user's password, and end their sessions.

        If `password` is None, a one-time password is generated and returned. With `for_legacy`
        the older application can read the hash. Raises NotFound, InvalidInput.
        """
        await self.authorization.check(caller)
        await self.reauthentication.require_fresh_login(caller, current_password)
        make_hash = self.passwords.hash_for_legacy if for_legacy else self.passwords.hash
        given = generated_password() if password is None else password
        for _ in range(MOST_ATTEMPTS):
            async with self.database.read() as db:
                seen = await user_to_show(db, ref)
            check_new_password(given, seen.username, seen.email)
            new_hash = await make_hash(given)
            if await self._set(caller, seen, new_hash, must_change=password is None):
                return given if password is None else None
        raise Unavailable

    @shielded
    async def _set(self, caller: Caller, seen: User, new_hash: str, *, must_change: bool) -> bool:
        """Store the hash; False if the password was changed since the user was read."""
        async with self.revoking.begin(caller) as revoker:
            db = revoker.db
            await user_to_change(db, caller, UserRef.by_id(seen.id), self.audit)
            user = await stored_passwords.replace_password(
                db, seen, new_hash, must_change=must_change
            )
            if user is None:
                return False
            await self.audit.record(db, AuditEvent.PASSWORD_RESET, caller, user_id=user.id)
            await revoker.end_all(user, EndReason.PASSWORD_RESET)
            await self.alerts.password_reset(db, caller, user.id)
            return True
