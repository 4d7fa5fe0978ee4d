"""Use cases of administrators and the operator: list everybody's sessions, and end them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Final, NamedTuple

from quart_app.errors import NotFound
from quart_app.model import EndReason, Login, User
from quart_app.services.administration.steps.targets import user_to_change
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.background.shielding import run_in_background, shielded
from quart_app.services.caller import Caller
from quart_app.services.identity.reauthentication import Reauthentication
from quart_app.services.identity.steps.rights import require_admin, require_admin_to_change
from quart_app.services.pagination import PAGE_SIZE, Page, page_of
from quart_app.services.sessions.steps.revoking import Revoking
from quart_app.storage import logins as stored_logins
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database

_MARKED_AT_ONCE: Final = 1000  # logins: some milliseconds of the write lock


@dataclass(frozen=True, kw_only=True)
class ListedLogin:
    """A live login, and the name of its user; None if the user was just deleted."""

    login: Login
    username: str | None


class LoginOfUser(NamedTuple):
    """A live login, and its user."""

    user: User
    login: Login


@dataclass(frozen=True, kw_only=True)
class SessionAdministration:
    """Sessions of all users. Every method raises what the methods of `Users` raise."""

    database: Database
    revoking: Revoking
    reauthentication: Reauthentication
    audit: AuditWriter
    now: Callable[[], datetime]

    async def page(self, caller: Caller, *, before: int | None) -> Page[ListedLogin, int]:
        """Return a page of everybody's live logins, newest first; the cursor is the oldest id."""
        async with self.database.read() as db:
            await require_admin(db, caller, self.audit)
            found = await stored_logins.live_logins_of_all(
                db, self.now(), before, most=PAGE_SIZE + 1
            )
            page = page_of(found, size=PAGE_SIZE, cursor_of=attrgetter("id"))
            names = await stored_users.usernames(db, {each.user_id for each in page.items})
        return page.map(lambda login: ListedLogin(login=login, username=names.get(login.user_id)))

    async def get(self, caller: Caller, login_id: int) -> LoginOfUser:
        """Return one live login and its user. Raises NotFound."""
        async with self.database.read() as db:
            await require_admin(db, caller, self.audit)
            login = await stored_logins.live_login(db, login_id, self.now())
            if login is None:
                raise _no_such_login()
            user = await stored_users.user_by_id(db, login.user_id)
            if user is None:
                raise _no_such_login()
            return LoginOfUser(user, login)

    async def end(
        self, caller: Caller, login_id: int, *, current_password: str | None = None
    ) -> Login:
        """End one login, and return it. Raises NotFound."""
        await self.reauthentication.require_fresh_login(caller, current_password)
        return await self._end(caller, login_id)

    @shielded
    async def _end(self, caller: Caller, login_id: int) -> Login:
        async with self.revoking.begin(caller) as revoker:
            login = await stored_logins.live_login(revoker.db, login_id, self.now())
            if login is None:
                await require_admin_to_change(revoker.db, caller, self.audit)
                raise _no_such_login()
            await user_to_change(revoker.db, caller, UserRef.by_id(login.user_id), self.audit)
            await revoker.end_login(login, EndReason.ADMINISTRATOR)
            return login

    async def end_all_of(
        self, caller: Caller, ref: UserRef, *, current_password: str | None = None
    ) -> None:
        """End every session of a user. Raises NotFound."""
        await self.reauthentication.require_fresh_login(caller, current_password)
        await self._end_all_of(caller, ref)

    @shielded
    async def _end_all_of(self, caller: Caller, ref: UserRef) -> None:
        async with self.revoking.begin(caller) as revoker:
            user = await user_to_change(revoker.db, caller, ref, self.audit)
            await revoker.end_all(user, EndReason.ADMINISTRATOR)

    async def end_everybodys(self, caller: Caller, *, current_password: str | None = None) -> None:
        """End every session of every user, including the caller's.

        This is needed after a restore, which makes ended sessions alive again.
        """
        await self.reauthentication.require_fresh_login(caller, current_password)
        await self._end_everybodys(caller)

    @shielded
    async def _end_everybodys(self, caller: Caller) -> None:
        async with self.revoking.begin(caller) as revoker:
            await require_admin_to_change(revoker.db, caller, self.audit)
            not_before = await revoker.end_everybodys(EndReason.ADMINISTRATOR)
        run_in_background(self._mark_ended(revoker.now, not_before))

    async def _mark_ended(self, at: datetime, not_before: datetime) -> None:
        """Mark each login as ended. For millions of logins that takes a while."""
        marked = _MARKED_AT_ONCE
        while marked == _MARKED_AT_ONCE:
            async with self.database.begin() as db:
                marked = await stored_logins.mark_some_ended(
                    db,
                    at=at,
                    reason=EndReason.ADMINISTRATOR,
                    not_after=not_before,
                    most=_MARKED_AT_ONCE,
                )


def _no_such_login() -> NotFound:
    return NotFound("There is no such session. It may have ended already.")
