"""Use cases of an account: log in, confirm and change the password."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import (
    BadCredentials,
    InvalidInput,
    NotFound,
    NotLoggedIn,
    PasswordChangeNeeded,
    PasswordChangeNotNeeded,
    TooManyAttempts,
    Unavailable,
)
from quart_app.model import AlertKind, AuditEvent, EndReason, User
from quart_app.services.addresses import counted_address
from quart_app.services.alerts import Alerts
from quart_app.services.audit import Audit, hash_of_session
from quart_app.services.known_devices import UNKNOWN_DEVICE, Device
from quart_app.services.new_passwords import check_new_password
from quart_app.services.passwords import Passwords
from quart_app.services.sessions import NewSession, OldSession, Sessions
from quart_app.services.throttle import Attempt, Throttling
from quart_app.services.turns import Turns
from quart_app.services.uninterrupted import uninterrupted
from quart_app.storage import platforms as stored_platforms
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database

MOST_ATTEMPTS = 5


class _Refused(Exception):  # noqa: N818 named for the fact
    """A login is refused, which nobody is told before a time of the event loop."""

    def __init__(self, until: float, error: BadCredentials | TooManyAttempts) -> None:
        super().__init__()
        self.until, self.error = until, error


@dataclass(frozen=True)
class Accounts:
    """Who logs in, and by what password."""

    database: Database
    passwords: Passwords
    sessions: Sessions
    alerts: Alerts
    audit: Audit
    turns: Turns
    throttling: Throttling
    # From when a login has its turn until it is told that it is refused. To compare with the older
    # application's hashes takes longer, and would tell whose they are; to read a user takes longer
    # than to find none; and a right password that comes too late was compared, others were not.
    failed_login: timedelta
    now: Callable[[], datetime]

    async def log_in(
        self,
        *,
        login_name: str,
        password: str,
        remember: bool = False,
        new_password: str | None = None,
        device: Device = UNKNOWN_DEVICE,
        replaced: Sequence[OldSession] = (),
    ) -> NewSession:
        """Begin a session for whoever has this name, or e-mail address, and password.

        `new_password` replaces a password that was given for one use; the sessions that the
        browser had, `replaced`, end. Raises BadCredentials, PasswordChangeNeeded,
        PasswordChangeNotNeeded, InvalidInput, TooManyAttempts, Busy.
        """
        try:
            async with self.turns.turn(counted_address(device.address)), self._told_later():
                return await self._log_in(
                    login_name=login_name,
                    password=password,
                    remember=remember,
                    new_password=new_password,
                    device=device,
                    replaced=replaced,
                )
        except _Refused as refused:
            # Out of turn, so that others go on. See `failed_login`.
            await asyncio.sleep(refused.until - asyncio.get_running_loop().time())
            raise refused.error from None

    @asynccontextmanager
    async def _told_later(self) -> AsyncIterator[None]:
        until = asyncio.get_running_loop().time() + self.failed_login.total_seconds()
        try:
            yield
        except (BadCredentials, TooManyAttempts) as error:
            raise _Refused(until, error) from None

    async def _log_in(
        self,
        *,
        login_name: str,
        password: str,
        remember: bool,
        new_password: str | None,
        device: Device,
        replaced: Sequence[OldSession],
    ) -> NewSession:
        # Whoever changes the password or deactivates the account while we compare makes us start
        # over, so that a login never outlives what it was checked against.
        for _ in range(MOST_ATTEMPTS):
            async with self.database.read() as db:
                user = await stored_users.user_by_login_name(db, login_name)
                attempt = self.throttling.login(login_name, device, user.id if user else None)
                await self._check(db, attempt, user)
            matches = await self.passwords.matches(user.password_hash if user else None, password)
            if user is None or not matches or not user.is_active:
                # Not by the name: where a field was missed, what stands there is the password.
                self.audit.count(AuditEvent.LOGIN_FAILED, user_id=user.id if user else None)
                await self.throttling.fail(attempt)
                raise BadCredentials
            new_hash = user.password_hash
            if user.must_change_password:
                if new_password is None:
                    await self._refuse_although_right(attempt, user)
                    raise PasswordChangeNeeded
                try:
                    _check_replacement(new_password, user, password)
                except InvalidInput:
                    await self._refuse_although_right(attempt, user)
                    raise
                new_hash = await self.passwords.hash(new_password)
            elif new_password is not None:
                await self._refuse_although_right(attempt, user)
                raise PasswordChangeNotNeeded(field="new_password")
            elif self.passwords.needs_rehash(user.password_hash):
                new_hash = await self.passwords.hash(password)
            session = await self._begin_session(
                user,
                new_hash=new_hash,
                remember=remember,
                device=device,
                replaced=replaced,
                attempt=attempt,
            )
            if session is not None:
                return session
        raise Unavailable

    async def _check(self, db: AsyncSession, attempt: Attempt, user: User | None) -> None:
        with self._counting_who_must_wait(user):
            await self.throttling.check(db, attempt)

    async def _refuse_although_right(self, attempt: Attempt, user: User) -> None:
        """Leave a trace of a right password that begins no session: it may have been guessed."""
        async with self.database.read() as db:
            await self._check(db, attempt, user)
        self.audit.count(AuditEvent.LOGIN_INCOMPLETE, user_id=user.id)

    @contextmanager
    def _counting_who_must_wait(self, user: User | None) -> Iterator[None]:
        try:
            yield
        except TooManyAttempts:
            self.audit.count(AuditEvent.LOGIN_THROTTLED, user_id=user.id if user else None)
            raise

    @uninterrupted
    async def _begin_session(
        self,
        seen: User,
        *,
        new_hash: str,
        remember: bool,
        device: Device,
        replaced: Sequence[OldSession],
        attempt: Attempt,
    ) -> NewSession | None:
        """Return a session, or None where the account is no longer as it was seen."""
        async with self.sessions.ending() as ending:
            db = ending.db
            with self._counting_who_must_wait(seen):
                await self.throttling.succeed(db, attempt)
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
            await ending.end_each(replaced, EndReason.REPLACED)
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
                    db, user.id, AlertKind.NEW_DEVICE, device, device_id=session.device.device_id
                )
            return session

    async def user(self, user_id: int) -> User:
        """Return the user of a session. Raises NotFound where the account is gone or inactive."""
        async with self.database.read() as db:
            user = await stored_users.user_by_id(db, user_id)
        if user is None or not user.is_active:
            raise NotFound
        return user

    async def confirm(
        self, user_id: int, current_password: str, *, sid: str, device: Device
    ) -> User:
        """Make sure that whoever asks, by the session `sid`, knows the password.

        Raises BadCredentials, NotFound, TooManyAttempts, Busy.
        """
        async with self.turns.turn(counted_address(device.address)):
            user = await self.user(user_id)
            attempt = self.throttling.confirmation(sid)
            async with self.database.read() as db:
                await self._check(db, attempt, user)
            if not await self.passwords.matches(user.password_hash, current_password):
                self.audit.count(AuditEvent.REAUTHENTICATION_FAILED, user_id=user_id)
                await self.throttling.fail(attempt)
                raise BadCredentials("The current password is not right.", field="current_password")
            async with self.database.begin() as db:
                with self._counting_who_must_wait(user):
                    await self.throttling.succeed(db, attempt)
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
        asked_by: OldSession,
    ) -> NewSession:
        """Replace the password and begin a session at the new epoch; every older one is over.

        Raises BadCredentials where the current password is not that, NotLoggedIn where the session
        that asks ended meanwhile, InvalidInput, NotFound.
        """
        for _ in range(MOST_ATTEMPTS):
            seen = await self.confirm(user_id, current_password, sid=asked_by.sid, device=device)
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
        asked_by: OldSession,
    ) -> NewSession | None:
        async with self.sessions.ending() as ending:
            user = await stored_users.replace_password(ending.db, seen, new_hash, must_change=False)
            if user is None or not user.is_active:
                return None
            # Read under the user's lock: while we hashed, somebody may have logged this one out.
            if await self.sessions.has_ended(ending.db, asked_by):
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


def _check_replacement(new_password: str, user: User, given: str) -> None:
    """Refuse what may not replace a password that was given for one use. Raises InvalidInput."""
    check_new_password(new_password, user.username, user.email)
    if new_password == given:
        raise InvalidInput("Choose another than the one you were given.", field="new_password")
