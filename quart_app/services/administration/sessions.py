"""Use cases of administrators over the web: list users and their sessions, end sessions."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import attrgetter

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import NotFound
from quart_app.model import EndReason, Login, User
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.services.identity.authorization import Authorization
from quart_app.services.identity.devices import Devices
from quart_app.services.pagination import PAGE_SIZE, Page, page_of
from quart_app.services.sessions.sessions import Sessions
from quart_app.session.claims import SessionRef
from quart_app.storage import logins as stored_logins
from quart_app.storage import users as stored_users


@dataclass(frozen=True, kw_only=True)
class ListedUser:
    """A user, and the number of their live logins."""

    user: User
    live_logins: int


@dataclass(frozen=True, kw_only=True)
class ListedLogin:
    """A live login, and the name of its user; None if the user was just deleted."""

    login: Login
    username: str | None


@dataclass(frozen=True, kw_only=True)
class SessionAdministration:
    """Users and sessions, for administrators. Every method raises Forbidden for anybody else.

    Methods that end sessions also raise PasswordNeeded if the login is not fresh, and
    BadCredentials.
    """

    sessions: Sessions
    devices: Devices
    authorization: Authorization
    now: Callable[[], datetime]

    async def users(
        self, caller: Caller, *, after: int | None, sought: str | None
    ) -> Page[ListedUser, int]:
        """Return a page of users by name, or of those whose name or address contains `sought`.

        The cursor is the id of the last user.
        """
        async with self.sessions.database.read() as db:
            await self.authorization.require_admin(db, caller)
            found = await stored_users.users_after(db, after, sought=sought, most=PAGE_SIZE + 1)
            page = page_of(found, size=PAGE_SIZE, cursor_of=attrgetter("id"))
            logins = await stored_logins.numbers_of_live_logins(
                db, [each.id for each in page.items], self.now()
            )
        return page.map(lambda user: ListedUser(user=user, live_logins=logins.get(user.id, 0)))

    async def user(self, caller: Caller, whose_id: int) -> tuple[User, list[Login]]:
        """Return a user and their live logins, newest first. Raises NotFound."""
        async with self.sessions.database.read() as db:
            await self.authorization.require_admin(db, caller)
            user = await stored_users.user_by_id(db, whose_id)
            if user is None:
                raise NotFound
            return user, await stored_logins.live_logins(db, whose_id, self.now())

    async def logins(self, caller: Caller, *, before: int | None) -> Page[ListedLogin, int]:
        """Return a page of everybody's live logins, newest first; the cursor is the oldest id."""
        async with self.sessions.database.read() as db:
            await self.authorization.require_admin(db, caller)
            found = await stored_logins.live_logins_of_all(
                db, self.now(), before, most=PAGE_SIZE + 1
            )
            page = page_of(found, size=PAGE_SIZE, cursor_of=attrgetter("id"))
            names = await stored_users.usernames(db, {each.user_id for each in page.items})
        return page.map(lambda login: ListedLogin(login=login, username=names.get(login.user_id)))

    async def login(self, caller: Caller, login_id: int) -> tuple[User, Login]:
        """Return one live login and its user. Raises NotFound."""
        async with self.sessions.database.read() as db:
            await self.authorization.require_admin(db, caller)
            login = await stored_logins.live_login(db, login_id, self.now())
            if login is None:
                raise _no_such_login()
            user = await stored_users.user_by_id(db, login.user_id)
            if user is None:
                raise _no_such_login()
            return user, login

    async def end_login(
        self, caller: Caller, login_id: int, *, current_password: str | None
    ) -> Login:
        """End one login, and return it. Raises NotFound."""
        await self.devices.confirm(caller, current_password)
        return await self._end_login(caller, login_id)

    @shielded
    async def _end_login(self, caller: Caller, login_id: int) -> Login:
        async with self.sessions.ending(caller) as ending:
            login = await stored_logins.live_login(ending.db, login_id, self.now())
            # Lock both users before their logins. Otherwise two administrators who end each
            # other's sessions would deadlock.
            whose = {caller.user_id} | ({login.user_id} if login else set())
            await stored_users.lock_users(ending.db, whose)
            await self.authorization.admit_to_change(ending.db, caller)
            if login is None:
                raise _no_such_login()
            session = SessionRef(sid=login.sid, expires_at=login.expires_at)
            await ending.end(session, EndReason.ADMINISTRATOR)
            return login

    async def end_logins_of(
        self, caller: Caller, whose_id: int, *, current_password: str | None
    ) -> None:
        """End every session of a user. Raises NotFound."""
        await self.devices.confirm(caller, current_password)
        await self._end_logins_of(caller, whose_id)

    @shielded
    async def _end_logins_of(self, caller: Caller, whose_id: int) -> None:
        async with self.sessions.ending(caller) as ending:
            await stored_users.lock_users(ending.db, {caller.user_id, whose_id})
            await self.authorization.admit_to_change(ending.db, caller)
            user = await stored_users.user_by_id(ending.db, whose_id)
            if user is None:
                raise NotFound
            await ending.end_all(user, EndReason.ADMINISTRATOR)

    async def end_everybodys(self, caller: Caller, *, current_password: str | None) -> None:
        """End every session of every user, including the caller's."""
        await self.devices.confirm(caller, current_password)
        await self.sessions.end_everybodys(caller, partial(self._admit, caller))

    async def _admit(self, caller: Caller, db: AsyncSession) -> None:
        """Check the right again, in the transaction that needs it: the comparison took a while."""
        await self.authorization.admit_to_change(db, caller)


def _no_such_login() -> NotFound:
    return NotFound("There is no such session. It may have ended already.")
