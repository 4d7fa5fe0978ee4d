"""Who may administer; who asks without the right is counted."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import Forbidden, NotFound, NotLoggedIn
from quart_app.model import AuditEvent, Role, User
from quart_app.services.audit.audit import Audit
from quart_app.storage import logins as stored_logins
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database


@dataclass(frozen=True)
class Administrators:
    """Rights are read in the transaction that needs them: a change of role holds at once."""

    database: Database
    audit: Audit

    async def admit(self, db: AsyncSession, user_id: int, *, sid: str | None = None) -> User:
        """Return the user, who administers. Raises Forbidden, or NotFound without an account.

        With the session that asks, raises NotLoggedIn where that has ended meanwhile.
        """
        if sid is not None and await stored_logins.has_login_ended(db, sid):
            raise NotLoggedIn
        user = await stored_users.user_by_id(db, user_id)
        if user is None or not user.is_active:
            raise NotFound
        if user.role is not Role.ADMIN:
            self.audit.count(AuditEvent.REFUSED_RIGHTS, user_id=user_id)
            raise Forbidden
        return user

    async def check(self, user_id: int) -> None:
        """Make sure that somebody administers. Raises as `admit`."""
        async with self.database.read() as db:
            await self.admit(db, user_id)
