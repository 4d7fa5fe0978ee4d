"""Use cases for the operator: create users, reset their passwords, deactivate them.

The use cases of administrators over the web are in services.membership. They share the steps within
a transaction that are here.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import InvalidInput, NameTaken, SetUpLinkInvalid, Unavailable
from quart_app.model import (
    EMAIL_LENGTH,
    NO_PASSWORD,
    USERNAME_LENGTH,
    AuditEvent,
    EndReason,
    Role,
    User,
)
from quart_app.services.audit.audit import Audit
from quart_app.services.caller import Caller
from quart_app.services.identity.accounts import MOST_ATTEMPTS
from quart_app.services.identity.alerts import Alerts
from quart_app.services.identity.new_passwords import check_new_password, generated_password
from quart_app.services.identity.passwords import Passwords
from quart_app.services.sessions.sessions import Ending, NewSession, Sessions
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database
from quart_app.storage.encoding import refuse_unstorable
from quart_app.text import names
from quart_app.text.login_names import name_key


@dataclass(frozen=True, kw_only=True)
class Users:
    """Users: set up, create, reset the password, activate, deactivate, change the role."""

    database: Database
    passwords: Passwords
    sessions: Sessions
    alerts: Alerts
    audit: Audit
    now: Callable[[], datetime]

    async def set_up(
        self, caller: Caller, *, username: str, email: str, password: str
    ) -> NewSession:
        """Create the first user, an administrator, and log them in.

        Raises SetUpLinkInvalid if a user exists, InvalidInput.
        """
        if not await self.is_set_up_needed():
            raise SetUpLinkInvalid
        user = await self._new_user(
            username=username, email=email, password=password, role=Role.ADMIN, must_change=False
        )
        async with self.sessions.ending(caller) as ending:
            await stored_users.lock_out_other_set_ups(ending.db)
            if await stored_users.is_there_a_user(ending.db):
                raise SetUpLinkInvalid
            await refuse_unstorable(ending.db, username=username, email=email)
            user.last_login = self.now()
            ending.db.add(user)
            await ending.db.flush()
            session = await self.sessions.begin(
                ending, user, platform_connection_id=None, remember=False
            )
            await self.audit.record(
                ending.db,
                AuditEvent.USER_CREATED,
                caller,
                user_id=user.id,
                actor_user_id=user.id,
                detail={"role": user.role.value},
            )
            await self.audit.record(
                ending.db,
                AuditEvent.LOGIN,
                caller,
                user_id=user.id,
                actor_user_id=user.id,
                sid=session.sid,
            )
            return session

    async def is_set_up_needed(self) -> bool:
        """Tell whether there are no users yet."""
        async with self.database.read() as db:
            return not await stored_users.is_there_a_user(db)

    async def create_user(
        self, caller: Caller, *, username: str, email: str, role: Role, password: str | None
    ) -> tuple[User, str | None]:
        """Create a user, and return them with the one-time password that was generated.

        The password is generated only if `password` is None; otherwise None is returned for it.
        Raises NameTaken, InvalidInput.
        """
        given = generated_password() if password is None else password
        user = await self._new_user(
            username=username, email=email, password=given, role=role, must_change=password is None
        )
        async with self.creating() as db:
            await self.add(db, caller, user)
        return user, given if password is None else None

    @asynccontextmanager
    async def creating(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that adds users. Raises NameTaken."""
        try:
            async with self.database.begin() as db:
                yield db
        except IntegrityError:  # taken between our query and our insert
            raise NameTaken(
                "That name or e-mail address is taken. Choose another.", field="username"
            ) from None

    async def add(self, db: AsyncSession, caller: Caller, user: User) -> None:
        """Store a new user. Raises NameTaken or InvalidInput, for the field at fault."""
        await refuse_unstorable(db, username=user.username, email=user.email)
        if await stored_users.does_anybody_log_in_by(db, user.username):
            raise NameTaken(field="username")
        if await stored_users.does_anybody_log_in_by(db, user.email):
            raise NameTaken("That e-mail address is taken. Choose another.", field="email")
        db.add(user)
        await _write_role(db, user.role)
        await self.audit.record(
            db, AuditEvent.USER_CREATED, caller, user_id=user.id, detail={"role": user.role.value}
        )

    async def user_without_password(self, *, username: str, email: str, role: Role) -> User:
        """Return a new user, not stored yet, who has no password. Raises InvalidInput."""
        return await self._new_user(
            username=username, email=email, password=None, role=role, must_change=True
        )

    async def _new_user(
        self, *, username: str, email: str, password: str | None, role: Role, must_change: bool
    ) -> User:
        _check_username(username)
        _check_email(email)
        if password is not None:
            check_new_password(password, username, email)
        return User(
            username=username,
            email=email,
            password_hash=NO_PASSWORD if password is None else await self.passwords.hash(password),
            role=role,
            is_active=True,
            created_at=self.now(),
            must_change_password=must_change,
            session_epoch=0,
        )

    async def everybody(self) -> list[User]:
        """Return every user, in order of id."""
        async with self.database.read() as db:
            return await stored_users.users_in_order_of_id(db)

    async def reset_password(
        self,
        caller: Caller,
        username: str,
        password: str | None,
        *,
        for_legacy: bool = False,
    ) -> str | None:
        """Set a user's password, and end their sessions.

        If `password` is None, a one-time password is generated and returned. With `for_legacy`
        the older application can read the hash. Raises NotFound, InvalidInput.
        """
        make_hash = self.passwords.hash_for_legacy if for_legacy else self.passwords.hash
        given = generated_password() if password is None else password
        for _ in range(MOST_ATTEMPTS):
            async with self.database.read() as db:
                seen = await stored_users.user_named(db, username, lock=False)
            check_new_password(given, seen.username, seen.email)
            new_hash = await make_hash(given)
            async with self.sessions.ending(caller) as ending:
                user = await stored_users.replace_password(
                    ending.db, seen, new_hash, must_change=password is None
                )
                if user is not None:
                    await self.audit.record(
                        ending.db, AuditEvent.PASSWORD_RESET, caller, user_id=user.id
                    )
                    await ending.end_all(user, EndReason.PASSWORD_RESET)
                    await self.alerts.password_reset(ending.db, caller, user.id)
                    return given if password is None else None
        raise Unavailable

    async def end_sessions(self, caller: Caller, username: str) -> None:
        """End every session of a user. Raises NotFound."""
        async with self.sessions.ending(caller) as ending:
            await ending.end_all(
                await stored_users.user_named(ending.db, username), EndReason.ADMINISTRATOR
            )

    async def deactivate(self, caller: Caller, username: str) -> bool:
        """Prevent a user from logging in, and end their sessions; tell if no administrator is left.

        Raises NotFound.
        """
        async with self.sessions.ending(caller) as ending:
            user = await stored_users.user_named(ending.db, username)
            was_admin = _administers(user)
            await self.shut_out(ending, user)
            return was_admin and not await stored_users.is_there_an_active_admin(ending.db)

    async def activate(self, caller: Caller, username: str) -> None:
        """Let a user log in again. Ended sessions stay ended. Raises NotFound."""
        async with self.database.begin() as db:
            await self.let_in(db, caller, await stored_users.user_named(db, username))

    async def change_role(self, caller: Caller, username: str, role: Role) -> bool:
        """Give a user another role; tell if no administrator is left. Raises NotFound."""
        async with self.database.begin() as db:
            user = await stored_users.user_named(db, username)
            was_admin = _administers(user)
            await self.give_role(db, caller, user, role)
            return was_admin and not await stored_users.is_there_an_active_admin(db)

    async def shut_out(self, ending: Ending, user: User) -> None:
        """Deactivate a user whose row is locked, and end their sessions."""
        user.is_active = False
        stored_users.forget_reset_link(user)
        await self.audit.record(
            ending.db, AuditEvent.USER_DEACTIVATED, ending.caller, user_id=user.id
        )
        await ending.end_all(user, EndReason.DEACTIVATED)

    async def let_in(self, db: AsyncSession, caller: Caller, user: User) -> None:
        """Activate a user whose row is locked."""
        user.is_active = True
        await self.audit.record(db, AuditEvent.USER_ACTIVATED, caller, user_id=user.id)

    async def give_role(self, db: AsyncSession, caller: Caller, user: User, role: Role) -> None:
        """Change the role of a user whose row is locked. Record nothing if it is the same.

        Raises InvalidInput if the database cannot store the role.
        """
        if user.role is role:
            return
        detail = {"from": user.role.value, "to": role.value}
        user.role = role
        await _write_role(db, role)
        await self.audit.record(db, AuditEvent.ROLE_CHANGED, caller, user_id=user.id, detail=detail)


async def _write_role(db: AsyncSession, role: Role) -> None:
    """Check that the database can store roles: an adopted enumeration type may lack one.

    Raises InvalidInput.
    """
    if not await stored_users.can_role_be_written(db):
        raise InvalidInput(
            f"This database cannot store the role {role.value}: the type of users.role has no"
            f" {role.name}.",
            field="role",
        )


def _administers(user: User) -> bool:
    return user.role is Role.ADMIN and bool(user.is_active)


def _check_username(username: str) -> None:
    longest = USERNAME_LENGTH
    if not names.is_writable(username):
        raise InvalidInput(names.SENTENCE, field="username")
    if not name_key(username) or len(username) > longest or username != username.strip():
        raise InvalidInput(
            f"A name must have 1 to {longest} characters, without a space at either end.",
            field="username",
        )


def _check_email(email: str) -> None:
    longest = EMAIL_LENGTH
    local, at, host = email.rpartition("@")
    if (
        not (local and at and host)
        or len(email) > longest
        or not email.isprintable()
        or " " in email
    ):
        raise InvalidInput(
            f"Enter an e-mail address such as name@host, with at most {longest} characters.",
            field="email",
        )
