"""Use cases of administrators over the web: create users, set their role, deactivate them."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import LastAdministrator, NotFound
from quart_app.model import Role, User
from quart_app.services.administration.users import Users
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.services.identity.authorization import Authorization
from quart_app.services.identity.devices import Devices
from quart_app.services.identity.reset_links import ResetLink, ResetLinks
from quart_app.services.sessions.sessions import Sessions
from quart_app.storage import users as stored_users


@dataclass(frozen=True, kw_only=True)
class Membership:
    """Changes that administrators make to users. One active administrator always remains.

    Every method for the web raises Forbidden for callers who are not administrators,
    PasswordNeeded if the login is not fresh, BadCredentials, and NotLoggedIn if the session ended
    meanwhile.
    """

    users: Users
    reset_links: ResetLinks
    sessions: Sessions
    devices: Devices
    authorization: Authorization

    async def create(
        self,
        caller: Caller,
        *,
        username: str,
        email: str,
        role: Role,
        current_password: str | None,
    ) -> ResetLink:
        """Create a user, and return the link that lets them set their password.

        Until then no password works for this user. Raises NameTaken, InvalidInput.
        """
        await self.authorization.check(caller)  # before anything is hashed for them
        await self.devices.confirm(caller, current_password)
        user = await self.users.user_without_password(username=username, email=email, role=role)
        async with self.users.creating() as db:
            await self.authorization.admit_to_change(db, caller)
            await self.users.add(db, caller, user)
            return await self.reset_links.make_first(db, caller, user)

    async def create_for_operator(
        self, caller: Caller, *, username: str, email: str, role: Role
    ) -> ResetLink:
        """Create a user with a link, for the command line. Raises NameTaken, InvalidInput."""
        user = await self.users.user_without_password(username=username, email=email, role=role)
        async with self.users.creating() as db:
            await self.users.add(db, caller, user)
            return await self.reset_links.make_first(db, caller, user)

    async def deactivate(
        self, caller: Caller, whose_id: int, *, current_password: str | None
    ) -> None:
        """Prevent a user from logging in, and end their sessions. Their connections stay.

        Raises LastAdministrator, NotFound.
        """
        await self.devices.confirm(caller, current_password)
        await self._deactivate(caller, whose_id)

    @shielded
    async def _deactivate(self, caller: Caller, whose_id: int) -> None:
        async with self.sessions.ending(caller) as ending:
            user = await self._user_to_change(ending.db, caller, whose_id)
            await self.users.shut_out(ending, user)
            await _leave_an_administrator(ending.db)

    async def activate(
        self, caller: Caller, whose_id: int, *, current_password: str | None
    ) -> None:
        """Let a user log in again. Ended sessions stay ended. Raises NotFound."""
        await self.devices.confirm(caller, current_password)
        async with self.sessions.database.begin() as db:
            user = await self._user_to_change(db, caller, whose_id)
            await self.users.let_in(db, caller, user)

    async def change_role(
        self, caller: Caller, whose_id: int, role: Role, *, current_password: str | None
    ) -> None:
        """Give a user another role. It applies from their next request.

        Raises LastAdministrator, NotFound.
        """
        await self.devices.confirm(caller, current_password)
        async with self.sessions.database.begin() as db:
            user = await self._user_to_change(db, caller, whose_id)
            await self.users.give_role(db, caller, user, role)
            await _leave_an_administrator(db)

    async def _user_to_change(self, db: AsyncSession, caller: Caller, whose_id: int) -> User:
        """Return a user, locked together with all administrators: see `_leave_an_administrator`.

        The caller's right is checked under that lock, because another administrator may have just
        removed it.
        """
        await stored_users.lock_administrators_and(db, whose_id)
        await self.authorization.admit_to_change(db, caller)
        user = await stored_users.user_by_id(db, whose_id)
        if user is None:
            raise NotFound
        return user


async def _leave_an_administrator(db: AsyncSession) -> None:
    """Refuse a change that would leave no active administrator.

    If two administrators deactivate each other at once, the second is refused.

    Raises LastAdministrator.
    """
    if not await stored_users.is_there_an_active_admin(db):
        raise LastAdministrator
