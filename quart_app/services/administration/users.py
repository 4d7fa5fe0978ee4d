"""Use cases of administrators and the operator: list, create and change users."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import LastAdministrator, NameTaken
from quart_app.model import AuditEvent, EndReason, Login, Role, User
from quart_app.services.administration.steps.new_users import NewUsers, write_role
from quart_app.services.administration.steps.targets import user_to_change, user_to_show
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.services.identity.authorization import Authorization
from quart_app.services.identity.new_passwords import generated_password
from quart_app.services.identity.reauthentication import Reauthentication
from quart_app.services.identity.reset_tokens import FIRST_LINK_LIFETIME, ResetLink
from quart_app.services.identity.steps.reset_link_issuing import ResetLinkIssuer
from quart_app.services.identity.steps.rights import require_admin, require_admin_to_change
from quart_app.services.pagination import PAGE_SIZE, Page, page_of
from quart_app.services.sessions.steps.revoking import Revoking
from quart_app.storage import logins as stored_logins
from quart_app.storage import passwords as stored_passwords
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database


@dataclass(frozen=True, kw_only=True)
class ListedUser:
    """A user, and the number of their live logins."""

    user: User
    live_logins: int


class UserWithLogins(NamedTuple):
    """A user, and their live logins, newest first."""

    user: User
    logins: list[Login]


class CreatedUser(NamedTuple):
    """A new user, and the one-time password that was generated for them, if any."""

    user: User
    one_time_password: str | None


@dataclass(frozen=True, kw_only=True)
class Users:
    """All users. Every method raises Forbidden unless an administrator or the operator calls it.

    Methods that change something also raise PasswordNeeded if an administrator's login is not
    fresh, BadCredentials, and NotLoggedIn if their session ended meanwhile.
    """

    database: Database
    revoking: Revoking
    authorization: Authorization
    reauthentication: Reauthentication
    new_users: NewUsers
    reset_links: ResetLinkIssuer
    audit: AuditWriter
    now: Callable[[], datetime]

    async def page(
        self, caller: Caller, *, after: int | None, sought: str | None
    ) -> Page[ListedUser, int]:
        """Return a page of users by name, or of those whose name or address contains `sought`.

        The cursor is the id of the last user.
        """
        async with self.database.read() as db:
            await require_admin(db, caller, self.audit)
            found = await stored_users.users_after(db, after, sought=sought, most=PAGE_SIZE + 1)
            page = page_of(found, size=PAGE_SIZE, cursor_of=attrgetter("id"))
            logins = await stored_logins.numbers_of_live_logins(
                db, [each.id for each in page.items], self.now()
            )
        return page.map(lambda user: ListedUser(user=user, live_logins=logins.get(user.id, 0)))

    async def everybody(self, caller: Caller) -> list[User]:
        """Return every user, in order of id."""
        async with self.database.read() as db:
            await require_admin(db, caller, self.audit)
            return await stored_users.users_in_order_of_id(db)

    async def get(self, caller: Caller, ref: UserRef) -> UserWithLogins:
        """Return a user and their live logins. Raises NotFound."""
        async with self.database.read() as db:
            await require_admin(db, caller, self.audit)
            user = await user_to_show(db, ref)
            return UserWithLogins(user, await stored_logins.live_logins(db, user.id, self.now()))

    async def create(
        self,
        caller: Caller,
        *,
        username: str,
        email: str,
        role: Role,
        password: str | None,
        current_password: str | None = None,
    ) -> CreatedUser:
        """Create a user with a password; if it is None, a one-time password is generated.

        Raises NameTaken, InvalidInput.
        """
        given = generated_password() if password is None else password
        await self._admit(caller, current_password)
        user = await self.new_users.prepare(
            username=username,
            email=email,
            role=role,
            password=given,
            must_change_password=password is None,
        )
        async with self._creating(caller) as db:
            await self.new_users.add(db, caller, user)
        return CreatedUser(user, given if password is None else None)

    async def create_with_link(
        self,
        caller: Caller,
        *,
        username: str,
        email: str,
        role: Role,
        current_password: str | None = None,
    ) -> ResetLink:
        """Create a user, and return the link that lets them set their password.

        Until then no password works for this user. Raises NameTaken, InvalidInput.
        """
        await self._admit(caller, current_password)
        user = await self.new_users.prepare(
            username=username, email=email, role=role, password=None, must_change_password=True
        )
        async with self._creating(caller) as db:
            await self.new_users.add(db, caller, user)
            return await self.reset_links.issue(db, caller, user, lifetime=FIRST_LINK_LIFETIME)

    async def _admit(self, caller: Caller, current_password: str | None) -> None:
        """Check the caller's right and login, before anything is hashed for them."""
        await self.authorization.check(caller)
        await self.reauthentication.require_fresh_login(caller, current_password)

    @asynccontextmanager
    async def _creating(self, caller: Caller) -> AsyncIterator[AsyncSession]:
        try:
            async with self.database.begin() as db:
                await require_admin_to_change(db, caller, self.audit)
                yield db
        except IntegrityError:  # taken between our query and our insert
            raise NameTaken(
                "That name or e-mail address is taken. Choose another.", field="username"
            ) from None

    async def deactivate(
        self, caller: Caller, ref: UserRef, *, current_password: str | None = None
    ) -> bool:
        """Prevent a user from logging in, and end their sessions. Their connections stay.

        Return whether it was the last active administrator: the operator may deactivate them, for
        others this raises LastAdministrator. Raises NotFound.
        """
        await self.reauthentication.require_fresh_login(caller, current_password)
        return await self._deactivate(caller, ref)

    @shielded
    async def _deactivate(self, caller: Caller, ref: UserRef) -> bool:
        async with self.revoking.begin(caller) as revoker:
            user = await user_to_change(revoker.db, caller, ref, self.audit)
            was_admin = _administers(user)
            user.is_active = False
            stored_passwords.forget_reset_link(user)
            await self.audit.record(
                revoker.db, AuditEvent.USER_DEACTIVATED, caller, user_id=user.id
            )
            await revoker.end_all(user, EndReason.DEACTIVATED)
            return was_admin and not await _is_an_administrator_left(revoker.db, caller)

    async def activate(
        self, caller: Caller, ref: UserRef, *, current_password: str | None = None
    ) -> None:
        """Let a user log in again. Ended sessions stay ended. Raises NotFound."""
        await self.reauthentication.require_fresh_login(caller, current_password)
        async with self.database.begin() as db:
            user = await user_to_change(db, caller, ref, self.audit)
            user.is_active = True
            await self.audit.record(db, AuditEvent.USER_ACTIVATED, caller, user_id=user.id)

    async def change_role(
        self, caller: Caller, ref: UserRef, role: Role, *, current_password: str | None = None
    ) -> bool:
        """Give a user another role. It applies from their next request.

        The same role is not recorded. Return and raise what `deactivate` does, and InvalidInput if
        the database cannot store the role.
        """
        await self.reauthentication.require_fresh_login(caller, current_password)
        async with self.database.begin() as db:
            user = await user_to_change(db, caller, ref, self.audit)
            was_admin = _administers(user)
            if user.role is not role:
                detail = {"from": user.role.value, "to": role.value}
                user.role = role
                await write_role(db, role)
                await self.audit.record(
                    db, AuditEvent.ROLE_CHANGED, caller, user_id=user.id, detail=detail
                )
            return was_admin and not await _is_an_administrator_left(db, caller)


async def _is_an_administrator_left(db: AsyncSession, caller: Caller) -> bool:
    """Return whether a change leaves an active administrator. Only the operator may leave none.

    If two administrators deactivate each other at once, the second is refused.
    Raises LastAdministrator.
    """
    is_left = await stored_users.is_there_an_active_admin(db)
    if not is_left and not caller.is_operator:
        raise LastAdministrator
    return is_left


def _administers(user: User) -> bool:
    return user.role is Role.ADMIN and bool(user.is_active)
