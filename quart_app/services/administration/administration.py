"""Use cases of administrators over the web: who there is, where they are logged in, ending that."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import attrgetter

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import NotFound
from quart_app.model import EndReason, Login, User
from quart_app.services.background.uninterrupted import uninterrupted
from quart_app.services.identity.administrators import Administrators
from quart_app.services.identity.devices import Asking, Devices
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
    """A live login, and the name of its user; None where the user has just been deleted."""

    login: Login
    username: str | None


@dataclass(frozen=True, kw_only=True)
class Administration:
    """What administrators see and end. All of it raises Forbidden for anybody else.

    Whoever ends something raises PasswordNeeded where the login is not fresh, BadCredentials.
    """

    sessions: Sessions
    devices: Devices
    administrators: Administrators
    now: Callable[[], datetime]

    async def users(
        self, user_id: int, *, after: int | None, sought: str | None
    ) -> Page[ListedUser, int]:
        """Return a page of users by name, or of those whose name or address holds `sought`.

        The cursor is the id of the last user.
        """
        async with self.sessions.database.read() as db:
            await self.administrators.admit(db, user_id)
            found = await stored_users.users_after(db, after, sought=sought, most=PAGE_SIZE + 1)
            page = page_of(found, size=PAGE_SIZE, cursor_of=attrgetter("id"))
            logins = await stored_logins.numbers_of_live_logins(
                db, [each.id for each in page.items], self.now()
            )
        return page.map(lambda user: ListedUser(user=user, live_logins=logins.get(user.id, 0)))

    async def user(self, user_id: int, whose_id: int) -> tuple[User, list[Login]]:
        """Return a user and their live logins, newest first. Raises NotFound."""
        async with self.sessions.database.read() as db:
            await self.administrators.admit(db, user_id)
            user = await stored_users.user_by_id(db, whose_id)
            if user is None:
                raise NotFound
            return user, await stored_logins.live_logins(db, whose_id, self.now())

    async def logins(self, user_id: int, *, before: int | None) -> Page[ListedLogin, int]:
        """Return a page of everybody's live logins, newest first; the cursor is the oldest id."""
        async with self.sessions.database.read() as db:
            await self.administrators.admit(db, user_id)
            found = await stored_logins.live_logins_of_all(
                db, self.now(), before, most=PAGE_SIZE + 1
            )
            page = page_of(found, size=PAGE_SIZE, cursor_of=attrgetter("id"))
            names = await stored_users.usernames(db, {each.user_id for each in page.items})
        return page.map(lambda login: ListedLogin(login=login, username=names.get(login.user_id)))

    async def login(self, user_id: int, login_id: int) -> tuple[User, Login]:
        """Return one live login and whose it is. Raises NotFound."""
        async with self.sessions.database.read() as db:
            await self.administrators.admit(db, user_id)
            login = await stored_logins.live_login(db, login_id, self.now())
            if login is None:
                raise _no_such_login()
            user = await stored_users.user_by_id(db, login.user_id)
            if user is None:
                raise _no_such_login()
            return user, login

    async def end_login(self, asking: Asking, login_id: int) -> Login:
        """End one login, and return it. Raises NotFound."""
        await self.devices.confirm(asking)
        return await self._end_login(asking, login_id)

    @uninterrupted
    async def _end_login(self, asking: Asking, login_id: int) -> Login:
        async with self.sessions.ending() as ending:
            login = await stored_logins.live_login(ending.db, login_id, self.now())
            # First both users, and then their logins: two administrators who end each other's
            # would otherwise wait for each other.
            whose = {asking.user_id} | ({login.user_id} if login else set())
            await stored_users.lock_users(ending.db, whose)
            await self._admit(asking, ending.db)
            if login is None:
                raise _no_such_login()
            session = SessionRef(sid=login.sid, expires_at=login.expires_at)
            await ending.end(session, EndReason.ADMINISTRATOR)
            return login

    async def end_logins_of(self, asking: Asking, whose_id: int) -> None:
        """End every session of a user. Raises NotFound."""
        await self.devices.confirm(asking)
        await self._end_logins_of(asking, whose_id)

    @uninterrupted
    async def _end_logins_of(self, asking: Asking, whose_id: int) -> None:
        async with self.sessions.ending() as ending:
            await stored_users.lock_users(ending.db, {asking.user_id, whose_id})
            await self._admit(asking, ending.db)
            user = await stored_users.user_by_id(ending.db, whose_id)
            if user is None:
                raise NotFound
            await ending.end_all(user, EndReason.ADMINISTRATOR)

    async def end_everybodys(self, asking: Asking) -> None:
        """End every session that there is, the asking one, too."""
        await self.devices.confirm(asking)
        await self.sessions.end_everybodys(partial(self._admit, asking))

    async def _admit(self, asking: Asking, db: AsyncSession) -> None:
        """Ask for the right in the transaction that uses it: meanwhile a password was compared."""
        await self.administrators.admit(db, asking.user_id, sid=asking.sid)


def _no_such_login() -> NotFound:
    return NotFound("There is no such session. It may have ended already.")
