"""Add a user in an open transaction."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import InvalidInput, NameTaken
from quart_app.model import (
    EMAIL_LENGTH,
    NO_PASSWORD,
    USERNAME_LENGTH,
    AuditEvent,
    Role,
    User,
)
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.services.identity.new_passwords import check_new_password
from quart_app.services.identity.passwords import Passwords
from quart_app.storage import users as stored_users
from quart_app.storage.encoding import refuse_unstorable
from quart_app.text import names
from quart_app.text.login_names import name_key


@dataclass(frozen=True)
class NewUsers:
    """Checks the fields of new users, and adds the users."""

    passwords: Passwords
    audit: AuditWriter
    now: Callable[[], datetime]

    async def prepare(
        self,
        *,
        username: str,
        email: str,
        role: Role,
        password: str | None,
        must_change_password: bool,
    ) -> User:
        """Return a new user, not stored yet; without `password` none works. Raises InvalidInput."""
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
            must_change_password=must_change_password,
            session_epoch=0,
        )

    async def add(self, db: AsyncSession, caller: Caller, user: User) -> None:
        """Store a prepared user. Raises NameTaken or InvalidInput, for the field at fault."""
        await refuse_unstorable(db, username=user.username, email=user.email)
        if await stored_users.does_anybody_log_in_by(db, user.username):
            raise NameTaken(field="username")
        if await stored_users.does_anybody_log_in_by(db, user.email):
            raise NameTaken("That e-mail address is taken. Choose another.", field="email")
        db.add(user)
        await write_role(db, user.role)
        await self.audit.record(
            db, AuditEvent.USER_CREATED, caller, user_id=user.id, detail={"role": user.role.value}
        )


async def write_role(db: AsyncSession, role: Role) -> None:
    """Check that the database can store roles: an adopted enumeration type may lack one.

    Raises InvalidInput.
    """
    if not await stored_users.can_role_be_written(db):
        raise InvalidInput(
            f"This database cannot store the role {role.value}: the type of users.role has no"
            f" {role.name}.",
            field="role",
        )


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
