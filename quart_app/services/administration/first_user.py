"""Use cases of a fresh installation: whether there is a user, and set-up of the first one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from quart_app.errors import SetUpLinkInvalid, Unavailable
from quart_app.model import AuditEvent, Role, User
from quart_app.services.administration.steps.new_users import NewUsers
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.services.sessions.new_session import NewSession
from quart_app.services.sessions.steps.issuing import SessionIssuer
from quart_app.services.sessions.steps.revoking import Revoking, SessionRevoker
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database
from quart_app.storage.encoding import refuse_unstorable


@dataclass(kw_only=True)
class FirstUser:
    """The first user, an administrator, who is created with a set-up link."""

    database: Database
    revoking: Revoking
    issuer: SessionIssuer
    new_users: NewUsers
    audit: AuditWriter
    now: Callable[[], datetime]
    _exists: bool = field(default=False, init=False)

    async def is_missing(self) -> bool:
        """Return whether there is no user, for the login page.

        False if the database does not answer. After it has found a user, it never queries again.
        """
        if self._exists:
            return False
        try:
            self._exists = not await self.is_set_up_needed()
        except Unavailable:
            return False
        return not self._exists

    async def is_set_up_needed(self) -> bool:
        """Return whether there are no users yet. Raises Unavailable."""
        async with self.database.read() as db:
            return not await stored_users.is_there_a_user(db)

    async def set_up(
        self, caller: Caller, *, username: str, email: str, password: str
    ) -> NewSession:
        """Create the first user, an administrator, and log them in.

        Raises SetUpLinkInvalid if a user exists, InvalidInput.
        """
        if not await self.is_set_up_needed():
            raise SetUpLinkInvalid
        user = await self.new_users.prepare(
            username=username,
            email=email,
            role=Role.ADMIN,
            password=password,
            must_change_password=False,
        )
        async with self.revoking.begin(caller) as revoker:
            await self._add(revoker, user)
            session = await self.issuer.issue(
                revoker, user, platform_connection_id=None, remember=False
            )
            await self._record(revoker, user, session)
            return session

    async def _add(self, revoker: SessionRevoker, user: User) -> None:
        await stored_users.lock_set_up(revoker.db)
        if await stored_users.is_there_a_user(revoker.db):
            raise SetUpLinkInvalid
        await refuse_unstorable(revoker.db, username=user.username, email=user.email)
        user.last_login = self.now()
        revoker.db.add(user)
        await revoker.db.flush()

    async def _record(self, revoker: SessionRevoker, user: User, session: NewSession) -> None:
        """Record two events whose actor the caller does not name yet: the new user."""
        for event, sid, detail in (
            (AuditEvent.USER_CREATED, None, {"role": user.role.value}),
            (AuditEvent.LOGIN, session.sid, None),
        ):
            await self.audit.record(
                revoker.db,
                event,
                revoker.caller,
                user_id=user.id,
                actor_user_id=user.id,
                sid=sid,
                detail=detail,
            )
