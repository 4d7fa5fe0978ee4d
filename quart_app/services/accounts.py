"""Use cases of an account: log in, confirm and change the password."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from quart_app.errors import (
    BadCredentials,
    InvalidInput,
    NotFound,
    NotLoggedIn,
    PasswordChangeNeeded,
    PasswordChangeNotNeeded,
    Unavailable,
)
from quart_app.model import AlertKind, AuditEvent, EndReason, User
from quart_app.services.alerts import Alerts
from quart_app.services.audit import Audit, hash_of_session
from quart_app.services.new_passwords import check_new_password
from quart_app.services.passwords import Passwords
from quart_app.services.sessions import UNKNOWN_DEVICE, Device, NewSession, OldSession, Sessions
from quart_app.services.uninterrupted import uninterrupted
from quart_app.storage import platforms as stored_platforms
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database

MOST_ATTEMPTS = 5


@dataclass(frozen=True)
class Accounts:
    """Who logs in, and by what password."""

    database: Database
    passwords: Passwords
    sessions: Sessions
    alerts: Alerts
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
        for _ in range(MOST_ATTEMPTS):
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
                check_new_password(new_password, user.username, user.email)
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
                stored_users.forget_reset_link(user)
                await self.audit.record(
                    db, AuditEvent.PASSWORD_CHANGED, user_id=user.id, actor_user_id=user.id
                )
                user.device_epoch += 1  # as with every change
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
            await self.audit.record(
                db, AuditEvent.LOGIN, user_id=user.id, actor_user_id=user.id, sid=session.sid
            )
            if user.must_change_password:
                user.must_change_password = False
                await self.alerts.password_changed(db, session, device)
            elif device.id_for(user) is None:
                await self.alerts.add(
                    db, user.id, AlertKind.NEW_DEVICE, device, device_id=session.device_id
                )
            return session

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
        for _ in range(MOST_ATTEMPTS):
            seen = await self.confirm(user_id, current_password)
            check_new_password(new_password, seen.username, seen.email)
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
            user = await stored_users.replace_password(ending.db, seen, new_hash, must_change=False)
            if user is None or not user.is_active:
                return None
            # Read under the user's lock: while we hashed, somebody may have logged this one out.
            if asked_by is not None and await self.sessions.has_ended(ending.db, asked_by):
                raise NotLoggedIn
            await ending.end_all(user, EndReason.PASSWORD_CHANGED)
            session = await self.sessions.begin(
                ending,
                user,
                platform_connection_id=platform_connection_id,
                remember=remember,
                device=device,
            )
            await self.audit.record(
                ending.db,
                AuditEvent.PASSWORD_CHANGED,
                user_id=user.id,
                # By which what happens next is done.
                detail={"new_session": hash_of_session(session.sid)},
            )
            await self.alerts.password_changed(ending.db, session, device)
            return session
