"""Authorization: admit administrators, and count refused callers."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import Forbidden, NotFound, NotLoggedIn
from quart_app.model import AuditEvent, Role, User
from quart_app.services.audit.audit import Audit
from quart_app.services.caller import Caller
from quart_app.storage import logins as stored_logins
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database


@dataclass(frozen=True)
class Authorization:
    """Reads rights in the transaction that needs them, so a change of role applies at once."""

    database: Database
    audit: Audit

    async def require_admin(self, db: AsyncSession, caller: Caller) -> User:
        """Return the caller's user, an administrator.

        Raises Forbidden, or NotFound if the user was deleted or is inactive.
        """
        user = await stored_users.user_by_id(db, caller.user_id)
        if user is None or not user.is_active:
            raise NotFound
        if user.role is not Role.ADMIN:
            self.audit.count(AuditEvent.REFUSED_RIGHTS, caller)
            raise Forbidden
        return user

    async def admit_to_change(self, db: AsyncSession, caller: Caller) -> User:
        """Do the same as `require_admin`. Raises NotLoggedIn if the caller's session ended."""
        if await stored_logins.has_login_ended(db, caller.sid):
            raise NotLoggedIn
        return await self.require_admin(db, caller)

    async def check(self, caller: Caller) -> None:
        """Make sure that the caller is an administrator. Raises the errors of `require_admin`."""
        async with self.database.read() as db:
            await self.require_admin(db, caller)
