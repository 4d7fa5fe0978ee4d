"""Use cases of a user's devices: list their logins, end one, end the others."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

from quart_app.errors import NotFound, NotLoggedIn
from quart_app.model import EndReason, Login
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.services.identity.reauthentication import Reauthentication
from quart_app.services.pagination import Page, page_of
from quart_app.services.sessions.steps.revoking import Revoking, SessionRevoker
from quart_app.storage import logins as stored_logins
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database


@dataclass(frozen=True)
class Devices:
    """The caller's logins. For another user's login, methods raise NotFound."""

    database: Database
    revoking: Revoking
    reauthentication: Reauthentication
    now: Callable[[], datetime]

    async def logins_of(self, caller: Caller) -> list[Login]:
        """Return the caller's live logins, newest first: not ended, and within their limit."""
        return await self.database.run_in_snapshot(
            lambda db: stored_logins.live_logins(db, caller.user_id, self.now())
        )

    async def page_of_logins_of(
        self, caller: Caller, *, before: int | None, size: int
    ) -> Page[Login, int]:
        """Return a page of the logins that `logins_of` returns; the cursor is the oldest id."""
        async with self.database.read() as db:
            found = await stored_logins.live_logins_of_all(
                db, self.now(), before, most=size + 1, user_id=caller.user_id
            )
        return page_of(found, size=size, cursor_of=attrgetter("id"))

    async def login_of(self, caller: Caller, login_id: int) -> Login:
        """Return one of the caller's live logins. Raises NotFound."""
        return _one(await self.logins_of(caller), login_id)

    async def end(self, caller: Caller, login_id: int, *, current_password: str | None) -> Login:
        """End one of the caller's logins, and return it.

        Raises NotFound, PasswordNeeded if the caller's login is not fresh, BadCredentials.
        """
        await self.reauthentication.require_fresh_login(caller, current_password)
        return await self._end(caller, login_id)

    @shielded
    async def _end(self, caller: Caller, login_id: int) -> Login:
        async with self.revoking.begin(caller) as revoker:
            login = _one(await self._live_logins(revoker), login_id)
            await revoker.end_login(login, EndReason.REMOVED)
            return login

    async def end_others(self, caller: Caller, *, current_password: str | None) -> int:
        """End every login of the user except the caller's, and return the number ended.

        Raises PasswordNeeded, BadCredentials.
        """
        await self.reauthentication.require_fresh_login(caller, current_password)
        return await self._end_others(caller)

    @shielded
    async def _end_others(self, caller: Caller) -> int:
        async with self.revoking.begin(caller) as revoker:
            live = await self._live_logins(revoker)
            others = [login for login in live if login.sid != caller.sid]
            for login in others:
                await revoker.end_login(login, EndReason.REMOVED)
            return len(others)

    async def _live_logins(self, revoker: SessionRevoker) -> list[Login]:
        """Return the caller's live logins, under the user's lock. Raises NotLoggedIn."""
        caller = revoker.caller
        await stored_users.user_by_id(revoker.db, caller.user_id, lock=True)  # no login may begin
        if await stored_logins.has_login_ended(revoker.db, caller.sid):
            raise NotLoggedIn  # it ended during the comparison of the password
        return await stored_logins.live_logins(revoker.db, caller.user_id, self.now())


def _one(logins: list[Login], login_id: int) -> Login:
    for login in logins:
        if login.id == login_id:
            return login
    raise NotFound("You have no such session. It may have ended already.")
