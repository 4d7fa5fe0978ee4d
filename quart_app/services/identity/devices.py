"""Use cases of a user's devices: list their logins, end one, end the others."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter

from quart_app.errors import NotFound, NotLoggedIn, PasswordNeeded
from quart_app.model import EndReason, Login, User
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.services.identity.accounts import Accounts
from quart_app.services.pagination import Page, page_of
from quart_app.services.sessions.sessions import Ending, Sessions
from quart_app.session.claims import SessionRef
from quart_app.storage import logins as stored_logins
from quart_app.storage import users as stored_users

# A user with an older login must give their password again (ASVS 7.5.3).
REAUTHENTICATION_WINDOW = timedelta(minutes=15)


@dataclass(frozen=True)
class Devices:
    """The logins of users. For another user's login, methods raise NotFound."""

    sessions: Sessions
    accounts: Accounts
    now: Callable[[], datetime]

    def is_password_needed(self, caller: Caller) -> bool:
        """Tell whether the caller's login is too old to end another without the password."""
        return self.now() - caller.login.created_at > REAUTHENTICATION_WINDOW

    async def logins_of(self, caller: Caller) -> list[Login]:
        """Return the caller's live logins, newest first: not ended, and within their limit."""
        async with self.sessions.database.read() as db:
            return await stored_logins.live_logins(db, caller.user_id, self.now())

    async def page_of_logins_of(
        self, caller: Caller, *, before: int | None, size: int
    ) -> Page[Login, int]:
        """Return a page of the logins that `logins_of` returns; the cursor is the oldest id."""
        async with self.sessions.database.read() as db:
            found = await stored_logins.live_logins_of_all(
                db, self.now(), before, most=size + 1, user_id=caller.user_id
            )
        return page_of(found, size=size, cursor_of=attrgetter("id"))

    async def logins_of_user_named(self, username: str) -> tuple[User, list[Login]]:
        """Return the user and their live logins. Raises NotFound."""
        async with self.sessions.database.read() as db:
            user = await stored_users.user_named(db, username, lock=False)
            return user, await stored_logins.live_logins(db, user.id, self.now())

    async def login_of(self, caller: Caller, login_id: int) -> Login:
        """Return one of the caller's live logins. Raises NotFound."""
        return _one(await self.logins_of(caller), login_id)

    async def end(self, caller: Caller, login_id: int, *, current_password: str | None) -> Login:
        """End one of the caller's logins, and return it.

        Raises NotFound, PasswordNeeded if the caller's login is not fresh, BadCredentials.
        """
        await self.confirm(caller, current_password)
        return await self._end(caller, login_id)

    @shielded
    async def _end(self, caller: Caller, login_id: int) -> Login:
        async with self.sessions.ending(caller) as ending:
            login = _one(await self._live_logins(ending), login_id)
            await ending.end(_session_of(login), EndReason.REMOVED)
            return login

    async def end_others(self, caller: Caller, *, current_password: str | None) -> int:
        """End every login of the user except the caller's, and return the number ended.

        Raises PasswordNeeded, BadCredentials.
        """
        await self.confirm(caller, current_password)
        return await self._end_others(caller)

    @shielded
    async def _end_others(self, caller: Caller) -> int:
        async with self.sessions.ending(caller) as ending:
            live = await self._live_logins(ending)
            others = [login for login in live if login.sid != caller.sid]
            for login in others:
                await ending.end(_session_of(login), EndReason.REMOVED)
            return len(others)

    async def _live_logins(self, ending: Ending) -> list[Login]:
        """Return the caller's live logins, under the user's lock. Raises NotLoggedIn."""
        caller = ending.caller
        await stored_users.user_by_id(ending.db, caller.user_id, lock=True)  # no login may begin
        if await stored_logins.has_login_ended(ending.db, caller.sid):
            raise NotLoggedIn  # it ended during the comparison of the password
        return await stored_logins.live_logins(ending.db, caller.user_id, self.now())

    async def confirm(self, caller: Caller, current_password: str | None) -> None:
        """Make sure that the caller's login is fresh, or that they know their password.

        Raises PasswordNeeded, BadCredentials, NotFound.
        """
        if current_password is not None:
            await self.accounts.confirm(caller, current_password)
        elif self.is_password_needed(caller):
            raise PasswordNeeded(field="current_password")


def _one(logins: list[Login], login_id: int) -> Login:
    for login in logins:
        if login.id == login_id:
            return login
    raise NotFound("You have no such session. It may have ended already.")


def _session_of(login: Login) -> SessionRef:
    return SessionRef(sid=login.sid, expires_at=login.expires_at)
