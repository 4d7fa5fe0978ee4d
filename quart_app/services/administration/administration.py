"""Use cases of administrators over the web: who there is, where they are logged in, ending that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import NotFound
from quart_app.model import EndReason, Login, User
from quart_app.services.background.uninterrupted import uninterrupted
from quart_app.services.identity.administrators import Administrators
from quart_app.services.identity.devices import Asking, Devices
from quart_app.services.sessions.sessions import OldSession, Sessions
from quart_app.storage import logins as stored_logins
from quart_app.storage import users as stored_users

OF_A_PAGE: Final = 50


@dataclass(frozen=True, kw_only=True)
class UsersPage:
    """Users in order of name, and how many live logins each has, by id.

    `after` is the id of the user to go on after; None where nobody comes later.
    """

    users: Sequence[User]
    logins: dict[int, int]
    after: int | None


@dataclass(frozen=True, kw_only=True)
class LoginsPage:
    """Live logins, newest first, and the names of their users, by id.

    `older_than` is the id to go on before; None where nothing is older.
    """

    logins: Sequence[Login]
    usernames: dict[int, str] = field(default_factory=dict)
    older_than: int | None = None


@dataclass(frozen=True)
class Administration:
    """What administrators see and end. All of it raises Forbidden for anybody else.

    Whoever ends something raises PasswordNeeded where the login is not fresh, BadCredentials.
    """

    sessions: Sessions
    devices: Devices
    administrators: Administrators
    now: Callable[[], datetime]

    async def users(self, user_id: int, *, after: int | None, sought: str | None) -> UsersPage:
        """Return a page of users, or of those whose name or address holds what is sought."""
        async with self.sessions.database.read() as db:
            await self.administrators.admit(db, user_id)
            found = await stored_users.users_after(db, after, sought=sought, most=OF_A_PAGE + 1)
            shown = found[:OF_A_PAGE]
            logins = await stored_logins.numbers_of_live_logins(
                db, [each.id for each in shown], self.now()
            )
        is_last = len(found) <= OF_A_PAGE
        return UsersPage(users=shown, logins=logins, after=None if is_last else shown[-1].id)

    async def user(self, user_id: int, whose_id: int) -> tuple[User, list[Login]]:
        """Return a user and their live logins, newest first. Raises NotFound."""
        async with self.sessions.database.read() as db:
            await self.administrators.admit(db, user_id)
            user = await stored_users.user_by_id(db, whose_id)
            if user is None:
                raise NotFound
            return user, await stored_logins.live_logins(db, whose_id, self.now())

    async def logins(self, user_id: int, *, before: int | None) -> LoginsPage:
        """Return a page of everybody's live logins."""
        async with self.sessions.database.read() as db:
            await self.administrators.admit(db, user_id)
            found = await stored_logins.live_logins_of_all(
                db, self.now(), before, most=OF_A_PAGE + 1
            )
            shown = found[:OF_A_PAGE]
            names = await stored_users.usernames(db, {each.user_id for each in shown})
        is_last = len(found) <= OF_A_PAGE
        return LoginsPage(
            logins=shown, usernames=names, older_than=None if is_last else shown[-1].id
        )

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
            session = OldSession(sid=login.sid, expires_at=login.expires_at)
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
    return NotFound("There is no such login; it may have ended already.")
