"""Use cases of an account: log in, change the password, and what an administrator does to users."""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import (
    BadCredentials,
    InvalidInput,
    NameTaken,
    NotFound,
    NotLoggedIn,
    PasswordChangeNeeded,
    PasswordChangeNotNeeded,
    SetUpAlready,
    Unavailable,
)
from quart_app.model import EMAIL_LENGTH, USERNAME_LENGTH, AuditEvent, EndReason, Role, User
from quart_app.services import names
from quart_app.services.audit import Audit
from quart_app.services.passwords import LONGEST, SHORTEST, Passwords
from quart_app.services.sessions import UNKNOWN_DEVICE, Device, NewSession, OldSession, Sessions
from quart_app.services.uninterrupted import uninterrupted
from quart_app.storage import platforms as stored_platforms
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database

_MOST_ATTEMPTS = 5
GENERATED_PASSWORD_BYTES = 15  # 20 characters of base64url


@dataclass(frozen=True)
class Accounts:
    """Who logs in, and by what password."""

    database: Database
    passwords: Passwords
    sessions: Sessions
    audit: Audit
    now: Callable[[], datetime]

    async def log_in(
        self,
        *,
        login_name: str,
        password: str,
        remember: bool = False,
        new_password: str | None = None,
        device: Device = UNKNOWN_DEVICE,
        replaced: OldSession | None = None,
    ) -> NewSession:
        """Begin a session for whoever has this name, or e-mail address, and password.

        `new_password` replaces a password that was given for one use; the session that the
        browser had, `replaced`, ends. Raises BadCredentials, PasswordChangeNeeded,
        PasswordChangeNotNeeded, InvalidInput.
        """
        # Whoever changes the password or deactivates the account while we compare makes us start
        # over, so that a login never outlives what it was checked against.
        for _ in range(_MOST_ATTEMPTS):
            async with self.database.read() as db:
                user = await stored_users.user_by_login_name(db, login_name)
            matches = await self.passwords.matches(user.password_hash if user else None, password)
            if user is None or not matches or not user.is_active:
                # Not by the name: where a field was missed, what stands there is the password.
                self.audit.count(AuditEvent.LOGIN_FAILED, user_id=user.id if user else None)
                raise BadCredentials
            new_hash = user.password_hash
            if user.must_change_password:
                if new_password is None:
                    raise PasswordChangeNeeded
                _check_new_password(new_password, user.username, user.email)
                if new_password == password:
                    raise InvalidInput(
                        "Choose another than the one you were given.", field="new_password"
                    )
                new_hash = await self.passwords.hash(new_password)
            elif new_password is not None:
                raise PasswordChangeNotNeeded(field="new_password")
            elif self.passwords.needs_rehash(user.password_hash):
                new_hash = await self.passwords.hash(password)
            session = await self._begin_session(
                user, new_hash=new_hash, remember=remember, device=device, replaced=replaced
            )
            if session is not None:
                return session
        raise Unavailable

    @uninterrupted
    async def _begin_session(
        self,
        seen: User,
        *,
        new_hash: str,
        remember: bool,
        device: Device,
        replaced: OldSession | None,
    ) -> NewSession | None:
        """Return a session, or None where the account is no longer as it was seen."""
        async with self.sessions.ending() as ending:
            db = ending.db
            user = await stored_users.record_login(
                db, seen, seen_hash=seen.password_hash, new_hash=new_hash, at=self.now()
            )
            if user is None:
                return None
            if user.must_change_password:
                user.must_change_password = False
                await self.audit.record(
                    db, AuditEvent.PASSWORD_CHANGED, user_id=user.id, actor_user_id=user.id
                )
            platform = await stored_platforms.first_usable_connection(
                db, user.id, user.default_platform_connection_id
            )
            if replaced is not None and not await self.sessions.has_ended(db, replaced):
                await ending.end(replaced, EndReason.REPLACED)
            session = await self.sessions.begin(
                ending,
                user,
                platform_connection_id=platform.id if platform else None,
                remember=remember,
                device=device,
            )
            await self._record_login(db, session)
            return session

    async def _record_login(self, db: AsyncSession, session: NewSession) -> None:
        whose = session.user_id
        await self.audit.record(
            db, AuditEvent.LOGIN, user_id=whose, actor_user_id=whose, sid=session.sid
        )

    async def user(self, user_id: int) -> User:
        """Return the user of a session. Raises NotFound where the account is gone or inactive."""
        async with self.database.read() as db:
            user = await stored_users.user_by_id(db, user_id)
        if user is None or not user.is_active:
            raise NotFound
        return user

    async def confirm(self, user_id: int, current_password: str) -> User:
        """Make sure that whoever asks knows the password. Raises BadCredentials, NotFound."""
        user = await self.user(user_id)
        if not await self.passwords.matches(user.password_hash, current_password):
            self.audit.count(AuditEvent.REAUTHENTICATION_FAILED, user_id=user_id)
            raise BadCredentials("The current password is not right.", field="current_password")
        return user

    async def change_password(
        self,
        user_id: int,
        *,
        current_password: str,
        new_password: str,
        platform_connection_id: int | None,
        remember: bool,
        device: Device = UNKNOWN_DEVICE,
        asked_by: OldSession | None = None,
    ) -> NewSession:
        """Replace the password and begin a session at the new epoch; every older one is over.

        Raises BadCredentials where the current password is not that, NotLoggedIn where the session
        that asks ended meanwhile, InvalidInput, NotFound.
        """
        for _ in range(_MOST_ATTEMPTS):
            seen = await self.confirm(user_id, current_password)
            _check_new_password(new_password, seen.username, seen.email)
            new_hash = await self.passwords.hash(new_password)
            session = await self._change_password(
                seen,
                new_hash,
                platform_connection_id=platform_connection_id,
                remember=remember,
                device=device,
                asked_by=asked_by,
            )
            if session is not None:
                return session
        raise Unavailable

    @uninterrupted
    async def _change_password(
        self,
        seen: User,
        new_hash: str,
        *,
        platform_connection_id: int | None,
        remember: bool,
        device: Device,
        asked_by: OldSession | None,
    ) -> NewSession | None:
        async with self.sessions.ending() as ending:
            user = await _replace_password(ending.db, seen, new_hash, must_change=False)
            if user is None or not user.is_active:
                return None
            # Read under the user's lock: while we hashed, somebody may have logged this one out.
            if asked_by is not None and await self.sessions.has_ended(ending.db, asked_by):
                raise NotLoggedIn
            await self.audit.record(ending.db, AuditEvent.PASSWORD_CHANGED, user_id=user.id)
            await ending.end_all(user, EndReason.PASSWORD_CHANGED)
            return await self.sessions.begin(
                ending,
                user,
                platform_connection_id=platform_connection_id,
                remember=remember,
                device=device,
            )

    async def set_up(
        self, *, username: str, email: str, password: str, device: Device = UNKNOWN_DEVICE
    ) -> NewSession:
        """Create the first user, an administrator, and log them in.

        Raises SetUpAlready where there is a user, InvalidInput.
        """
        if not await self.is_set_up_needed():
            raise SetUpAlready
        user = await self._new_user(
            username=username, email=email, password=password, role=Role.ADMIN, must_change=False
        )
        async with self.sessions.ending() as ending:
            await stored_users.lock_out_other_set_ups(ending.db)
            if await stored_users.is_there_a_user(ending.db):
                raise SetUpAlready
            user.last_login = self.now()
            ending.db.add(user)
            await ending.db.flush()
            session = await self.sessions.begin(
                ending, user, platform_connection_id=None, remember=False, device=device
            )
            await self.audit.record(
                ending.db,
                AuditEvent.USER_CREATED,
                user_id=user.id,
                actor_user_id=user.id,
                detail={"role": user.role.value},
            )
            await self._record_login(ending.db, session)
            return session

    async def is_set_up_needed(self) -> bool:
        """Tell whether nobody exists yet."""
        async with self.database.read() as db:
            return not await stored_users.is_there_a_user(db)

    async def create_user(
        self, *, username: str, email: str, role: Role, password: str | None
    ) -> tuple[User, str | None]:
        """Create a user; without a password one is made, for one use, and returned beside them.

        Raises NameTaken, InvalidInput.
        """
        given = generated_password() if password is None else password
        user = await self._new_user(
            username=username, email=email, password=given, role=role, must_change=password is None
        )
        try:
            async with self.database.begin() as db:
                await self._add_user(db, user)
        except IntegrityError:  # another took it between our look and our insert
            raise NameTaken from None
        return user, given if password is None else None

    async def _add_user(self, db: AsyncSession, user: User) -> None:
        if await stored_users.is_name_or_email_taken(db, user.username, user.email):
            raise NameTaken("That name or e-mail address is taken.", field="username")
        db.add(user)
        await db.flush()
        await self.audit.record(
            db, AuditEvent.USER_CREATED, user_id=user.id, detail={"role": user.role.value}
        )

    async def _new_user(
        self, *, username: str, email: str, password: str, role: Role, must_change: bool
    ) -> User:
        _check_username(username)
        _check_email(email)
        _check_new_password(password, username, email)
        return User(
            username=username,
            email=email,
            password_hash=await self.passwords.hash(password),
            role=role,
            is_active=True,
            created_at=self.now(),
            must_change_password=must_change,
            session_epoch=0,
        )

    async def users(self) -> list[User]:
        """Return every user, in order of id."""
        async with self.database.read() as db:
            return await stored_users.users_in_order_of_id(db)

    async def reset_password(self, username: str, password: str | None) -> str | None:
        """Give a user a password, ending every session; one we make is for one use, and returned.

        Raises NotFound, InvalidInput.
        """
        given = generated_password() if password is None else password
        for _ in range(_MOST_ATTEMPTS):
            async with self.database.read() as db:
                seen = await _named(db, username, lock=False)
            _check_new_password(given, seen.username, seen.email)
            new_hash = await self.passwords.hash(given)
            async with self.sessions.ending() as ending:
                user = await _replace_password(
                    ending.db, seen, new_hash, must_change=password is None
                )
                if user is not None:
                    await self.audit.record(ending.db, AuditEvent.PASSWORD_RESET, user_id=user.id)
                    await ending.end_all(user, EndReason.PASSWORD_RESET)
                    return given if password is None else None
        raise Unavailable

    async def end_sessions(self, username: str) -> None:
        """End every session of a user. Raises NotFound."""
        async with self.sessions.ending() as ending:
            await ending.end_all(await _named(ending.db, username), EndReason.ADMINISTRATOR)

    async def deactivate(self, username: str) -> bool:
        """Let a user log in no more, ending every session; tell if no administrator is left by it.

        Raises NotFound.
        """
        async with self.sessions.ending() as ending:
            user = await _named(ending.db, username)
            was_admin = user.role is Role.ADMIN and bool(user.is_active)
            user.is_active = False
            await self.audit.record(ending.db, AuditEvent.USER_DEACTIVATED, user_id=user.id)
            await ending.end_all(user, EndReason.DEACTIVATED)
            return was_admin and not await stored_users.is_there_an_active_admin(ending.db)

    async def activate(self, username: str) -> None:
        """Let a user log in again; sessions that have ended stay so. Raises NotFound."""
        async with self.database.begin() as db:
            user = await _named(db, username)
            user.is_active = True
            await self.audit.record(db, AuditEvent.USER_ACTIVATED, user_id=user.id)


async def _named(db: AsyncSession, username: str, *, lock: bool = True) -> User:
    user = await stored_users.user_by_username(db, username, lock=lock)
    if user is None:
        raise NotFound(f"There is no user named {username}.")
    return user


async def _replace_password(
    db: AsyncSession, seen: User, new_hash: str, *, must_change: bool
) -> User | None:
    """Write the hash; None where another had changed it meanwhile."""
    user = await stored_users.user_by_id(db, seen.id, lock=True)
    if user is None or user.password_hash != seen.password_hash:
        return None
    user.password_hash = new_hash
    user.must_change_password = must_change
    return user


def generated_password() -> str:
    """Return a password that nobody could guess."""
    return secrets.token_urlsafe(GENERATED_PASSWORD_BYTES)


def _check_username(username: str) -> None:
    longest = USERNAME_LENGTH
    if not names.is_writable(username):
        raise InvalidInput(names.SENTENCE, field="username")
    if not names.is_visible(username) or len(username) > longest or username != username.strip():
        raise InvalidInput(
            f"A name has 1 to {longest} characters, and no space at either end.", field="username"
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
            f"An e-mail address has the form name@host, and at most {longest} characters.",
            field="email",
        )


def _check_new_password(password: str, username: str, email: str) -> None:
    """Refuse what is guessed first; no rule about kinds of characters (NIST SP 800-63B-4, 3.1)."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidInput(
            f"A password has {SHORTEST} to {LONGEST} characters.", field="new_password"
        )
    if re.search("[\x00\ud800-\udfff]", password):
        raise InvalidInput("A password is text without a NUL character.", field="new_password")
    if password.casefold() in {username.casefold(), email.casefold()}:
        raise InvalidInput("A password is not the name or the address.", field="new_password")
