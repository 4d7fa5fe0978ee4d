"""Use cases of a user's devices: where am I logged in, end one, end the others."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter

from quart_app.errors import NotFound, NotLoggedIn, PasswordNeeded
from quart_app.model import EndReason, Login, User
from quart_app.services.background.uninterrupted import uninterrupted
from quart_app.services.identity.accounts import Accounts
from quart_app.services.pagination import Page, page_of
from quart_app.services.sessions.known_devices import Device
from quart_app.services.sessions.sessions import Ending, Sessions
from quart_app.session.claims import SessionRef
from quart_app.storage import logins as stored_logins
from quart_app.storage import users as stored_users

FRESH = timedelta(minutes=15)  # a login that is older gives its password once more (ASVS 7.5.3)


@dataclass(frozen=True, kw_only=True)
class Asking:
    """By which login something is asked, and with which password, if one was given."""

    user_id: int
    sid: str
    logged_in_at: datetime
    device: Device
    current_password: str | None = None


@dataclass(frozen=True)
class Devices:
    """Where users are logged in. Another user's logins do not exist here: NotFound."""

    sessions: Sessions
    accounts: Accounts
    now: Callable[[], datetime]

    def is_password_needed(self, logged_in_at: datetime) -> bool:
        """Tell whether a login is too old to end another without the password."""
        return self.now() - logged_in_at > FRESH

    async def logins_of(self, user_id: int) -> list[Login]:
        """Return the user's live logins, newest first: not ended, and within their limit."""
        async with self.sessions.database.read() as db:
            return await stored_logins.live_logins(db, user_id, self.now())

    async def page_of_logins_of(
        self, user_id: int, *, before: int | None, size: int
    ) -> Page[Login, int]:
        """Return a page of the logins that `logins_of` returns; the cursor is the oldest id."""
        async with self.sessions.database.read() as db:
            found = await stored_logins.live_logins_of_all(
                db, self.now(), before, most=size + 1, user_id=user_id
            )
        return page_of(found, size=size, cursor_of=attrgetter("id"))

    async def logins_of_user_named(self, username: str) -> tuple[User, list[Login]]:
        """Return the user and their live logins. Raises NotFound."""
        async with self.sessions.database.read() as db:
            user = await stored_users.user_named(db, username, lock=False)
            return user, await stored_logins.live_logins(db, user.id, self.now())

    async def login_of(self, user_id: int, login_id: int) -> Login:
        """Return one of the user's live logins. Raises NotFound."""
        return _one(await self.logins_of(user_id), login_id)

    async def end(self, asking: Asking, login_id: int) -> Login:
        """End one of the user's logins, and return it.

        Raises NotFound, PasswordNeeded where the asking login is not fresh, BadCredentials.
        """
        await self.confirm(asking)
        return await self._end(asking, login_id)

    @uninterrupted
    async def _end(self, asking: Asking, login_id: int) -> Login:
        async with self.sessions.ending() as ending:
            login = _one(await self._live_logins(ending, asking), login_id)
            await ending.end(_session_of(login), EndReason.REMOVED)
            return login

    async def end_others(self, asking: Asking) -> int:
        """End every login of the user but the asking one; return how many they were.

        Raises PasswordNeeded, BadCredentials.
        """
        await self.confirm(asking)
        return await self._end_others(asking)

    @uninterrupted
    async def _end_others(self, asking: Asking) -> int:
        async with self.sessions.ending() as ending:
            live = await self._live_logins(ending, asking)
            others = [login for login in live if login.sid != asking.sid]
            for login in others:
                await ending.end(_session_of(login), EndReason.REMOVED)
            return len(others)

    async def _live_logins(self, ending: Ending, asking: Asking) -> list[Login]:
        """Return the live logins of whoever asks, under the user's lock. Raises NotLoggedIn."""
        await stored_users.user_by_id(ending.db, asking.user_id, lock=True)  # no login between
        if await stored_logins.has_login_ended(ending.db, asking.sid):
            raise NotLoggedIn  # while the password was compared
        return await stored_logins.live_logins(ending.db, asking.user_id, self.now())

    async def confirm(self, asking: Asking) -> None:
        """Make sure that the login is fresh, or that who asks knows the password.

        Raises PasswordNeeded, BadCredentials, NotFound.
        """
        if asking.current_password is not None:
            await self.accounts.confirm(
                asking.user_id, asking.current_password, sid=asking.sid, device=asking.device
            )
        elif self.is_password_needed(asking.logged_in_at):
            raise PasswordNeeded(field="current_password")


def _one(logins: list[Login], login_id: int) -> Login:
    for login in logins:
        if login.id == login_id:
            return login
    raise NotFound("You have no such session. It may have ended already.")


def _session_of(login: Login) -> SessionRef:
    return SessionRef(sid=login.sid, expires_at=login.expires_at)
