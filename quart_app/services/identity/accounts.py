"""Use cases of users: log in, confirm and change the password."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

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
from quart_app.model import AuditEvent, EndReason, User
from quart_app.services.audit.addresses import counted_address
from quart_app.services.audit.audit import Audit, hash_of_session
from quart_app.services.background.shielding import run_in_background, shielded
from quart_app.services.caller import Caller
from quart_app.services.identity.alerts import Alerts
from quart_app.services.identity.hashing_queue import FairQueue
from quart_app.services.identity.new_passwords import (
    SAME_AS_CURRENT,
    SAME_AS_GIVEN,
    check_new_password,
)
from quart_app.services.identity.password_permits import PasswordPermits
from quart_app.services.identity.passwords import Passwords, is_same_password
from quart_app.services.identity.throttle import (
    RESERVED_FOR,
    Attempt,
    ComparisonsUnderWay,
    Throttling,
)
from quart_app.services.sessions.sessions import CONNECTION_CLAIM, NewSession, Sessions
from quart_app.session.claims import SessionRef
from quart_app.storage import logins as stored_logins
from quart_app.storage import platforms as stored_platforms
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database

MOST_ATTEMPTS = 5
_REFUSED_ALTHOUGH_RIGHT = (
    PasswordChangeNeeded,
    PasswordChangeNotNeeded,
    InvalidInput,
    TooManyAttempts,
)
_HOUR = timedelta(hours=1)
_ASK_AGAIN_SECONDS = 0.1  # a comparison or two

T = TypeVar("T")


class _Refused(Exception):  # noqa: N818 named for the fact
    """A refused login. The client gets its answer at a fixed time of the event loop."""

    def __init__(self, until: float, error: BadCredentials | TooManyAttempts) -> None:
        super().__init__()
        self.until, self.error = until, error


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """Logins, and the passwords of the users who log in."""

    database: Database
    passwords: Passwords
    sessions: Sessions
    alerts: Alerts
    audit: Audit
    hashing_queue: FairQueue
    throttling: Throttling
    # The time from the turn of a login until its refusal is answered. It is fixed because timing
    # would show who exists: a comparison with a hash of the older application takes longer; reading
    # a user takes longer than finding none; and a right password that comes too late was compared,
    # others were not.
    failed_login: timedelta
    logins_per_hour: int  # of one user
    now: Callable[[], datetime]
    permits: PasswordPermits

    async def log_in(
        self,
        caller: Caller,
        *,
        login_name: str,
        password: str,
        remember: bool = False,
        new_password: str | None = None,
        replaced: Sequence[SessionRef] = (),
    ) -> NewSession:
        """Begin a session for the user with this name, or e-mail address, and password.

        `new_password` replaces a one-time password. The sessions that the browser had,
        `replaced`, end. Raises BadCredentials, PasswordChangeNeeded,
        PasswordChangeNotNeeded, InvalidInput, TooManyAttempts, Busy.
        """

        async def attempt() -> NewSession:
            async with self._told_later():
                return await self._log_in(
                    caller,
                    login_name=login_name,
                    password=password,
                    remember=remember,
                    new_password=new_password,
                    replaced=replaced,
                )

        try:
            return await self.in_turn(caller, attempt)
        except _Refused as refused:
            # Wait outside the turn, so that others can continue. See `failed_login`.
            await asyncio.sleep(refused.until - asyncio.get_running_loop().time())
            raise refused.error from None

    async def in_turn(self, caller: Caller, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the attempt in its turn; wait for other comparisons outside it."""
        give_up_at = time.monotonic() + RESERVED_FOR.total_seconds()
        while True:
            async with self.hashing_queue.slot(counted_address(caller.address)):
                with suppress(ComparisonsUnderWay):
                    return await attempt()
            if time.monotonic() >= give_up_at:
                raise TooManyAttempts(retry_after_seconds=1)
            await asyncio.sleep(_ASK_AGAIN_SECONDS)

    @asynccontextmanager
    async def _told_later(self) -> AsyncIterator[None]:
        until = asyncio.get_running_loop().time() + self.failed_login.total_seconds()
        try:
            yield
        except (BadCredentials, TooManyAttempts) as error:
            raise _Refused(until, error) from None

    async def _log_in(
        self,
        caller: Caller,
        *,
        login_name: str,
        password: str,
        remember: bool,
        new_password: str | None,
        replaced: Sequence[SessionRef],
    ) -> NewSession:
        attempt = await self.throttling.reserve(
            caller, partial(self._attempt_by, caller, login_name)
        )
        user = attempt.user
        # Start over if the password changes, or the user is deactivated, during the comparison: a
        # login must not outlive the state that it was checked against.
        for _ in range(MOST_ATTEMPTS):
            matches = await self._matches(attempt, user, password)
            if user is None or not matches or not user.is_active:
                # Leave out the typed name: somebody may have typed their password there.
                self.audit.count(AuditEvent.LOGIN_FAILED, caller, user_id=user.id if user else None)
                await self.throttling.fail(attempt)
                raise BadCredentials
            permit = partial(self.permits.token_for, user, remember=remember, login_name=login_name)
            try:
                session = await self.begin_session(
                    caller,
                    user,
                    new_hash=await self._hash_to_keep(user, password, new_password, permit),
                    remember=remember,
                    replaced=replaced,
                    attempt=attempt,
                )
            except _REFUSED_ALTHOUGH_RIGHT:
                # Count a right password that begins no session: it may have been guessed.
                self.audit.count(AuditEvent.LOGIN_INCOMPLETE, caller, user_id=user.id)
                await self.throttling.take_back(attempt)
                raise
            if session is not None:
                return session
            async with self.database.read() as db:
                user = await stored_users.user_by_login_name(db, login_name)
        raise Unavailable

    async def _matches(self, attempt: Attempt, user: User | None, password: str) -> bool:
        try:
            return await self.passwords.matches(user.password_hash if user else None, password)
        except asyncio.CancelledError:  # the client hung up, and gets no answer
            run_in_background(self.throttling.fail(attempt))
            raise

    async def _attempt_by(self, caller: Caller, login_name: str, db: AsyncSession) -> Attempt:
        user = await stored_users.user_by_login_name(db, login_name)
        return self.throttling.login(caller, login_name, user)

    async def _hash_to_keep(
        self, user: User, password: str, new_password: str | None, permit: Callable[[], str]
    ) -> str:
        """Return the hash to store for the user after this login with the right password.

        `permit` makes the token for choosing a password later. Raises PasswordChangeNeeded,
        PasswordChangeNotNeeded, InvalidInput.
        """
        if user.must_change_password:
            if new_password is None:
                raise PasswordChangeNeeded(permit())
            _check_replacement(new_password, user, password)
            return await self.passwords.hash(new_password)
        if new_password is not None:
            raise PasswordChangeNotNeeded(field="new_password")
        if self.passwords.needs_rehash(user.password_hash):
            return await self.passwords.hash(password)
        return user.password_hash

    @shielded
    async def begin_session(
        self,
        caller: Caller,
        seen: User,
        *,
        new_hash: str,
        remember: bool,
        replaced: Sequence[SessionRef],
        attempt: Attempt,
    ) -> NewSession | None:
        """Return a session, or None if the user has changed since they were read.

        `new_hash` replaces the hash of a one-time password. Raises TooManyAttempts.
        """
        async with self.sessions.ending(caller) as ending:
            db = ending.db
            user = await stored_users.record_login(
                db,
                seen,
                new_hash=new_hash,
                is_new_password=seen.must_change_password,
                at=self.now(),
            )
            if user is None:
                return None
            await self._check_logins(db, user)
            if user.must_change_password:
                stored_users.forget_reset_link(user)
                await self.audit.record(
                    db, AuditEvent.PASSWORD_CHANGED, caller, user_id=user.id, actor_user_id=user.id
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
            )
            await self.audit.record(
                db,
                AuditEvent.LOGIN,
                caller,
                user_id=user.id,
                actor_user_id=user.id,
                sid=session.sid,
            )
            if user.must_change_password:
                user.must_change_password = False
                await self.alerts.password_changed(db, caller, session)
            elif caller.device_id_for(user) is None:
                await self.alerts.new_device(db, caller, session)
            # This is last because all logins from one address lock the same row here.
            await self.throttling.succeed(db, attempt)
            return session

    async def _check_logins(self, db: AsyncSession, user: User) -> None:
        """Limit how often a user, whose row is locked, logs in. Raises TooManyAttempts.

        Only successful logins count, so nobody without the password can use up the limit.
        """
        now = self.now()
        oldest = await stored_logins.nth_newest_login_since(
            db, user.id, since=now - _HOUR, n=self.logins_per_hour
        )
        if oldest is not None:
            raise TooManyAttempts(
                f"You have logged in {self.logins_per_hour} times within an hour.",
                retry_after_seconds=max(1, math.ceil((oldest + _HOUR - now).total_seconds())),
            )

    async def user(self, caller: Caller) -> User:
        """Return the caller's user. Raises NotFound if they were deleted or are inactive."""
        async with self.database.read() as db:
            user = await stored_users.user_by_id(db, caller.user_id)
        if user is None or not user.is_active:
            raise NotFound
        return user

    async def confirm(self, caller: Caller, current_password: str) -> User:
        """Make sure that the caller knows their password.

        Raises BadCredentials, NotFound, TooManyAttempts, Busy.
        """
        return await self.in_turn(caller, partial(self._confirm, caller, current_password))

    async def _confirm(self, caller: Caller, current_password: str) -> User:
        attempt = await self.throttling.reserve(caller, partial(self._confirmation_of, caller))
        user = attempt.user
        if user is None or not user.is_active:
            raise NotFound
        if not await self._matches(attempt, user, current_password):
            self.audit.count(AuditEvent.REAUTHENTICATION_FAILED, caller)
            await self.throttling.fail(attempt)
            raise BadCredentials("The current password is wrong.", field="current_password")
        await self.throttling.take_back(attempt)
        return user

    async def _confirmation_of(self, caller: Caller, db: AsyncSession) -> Attempt:
        user = await stored_users.user_by_id(db, caller.user_id)
        return self.throttling.confirmation(caller, user)

    async def change_password(
        self,
        caller: Caller,
        *,
        current_password: str,
        new_password: str,
    ) -> NewSession:
        """Replace the password. A new session replaces the caller's; all older sessions end.

        Raises BadCredentials if the current password is wrong, NotLoggedIn if the caller's session
        ended meanwhile, InvalidInput, NotFound.
        """
        for _ in range(MOST_ATTEMPTS):
            seen = await self.confirm(caller, current_password)
            check_new_password(new_password, seen.username, seen.email)
            if is_same_password(new_password, current_password):
                raise InvalidInput(SAME_AS_CURRENT, field="new_password")
            new_hash = await self.passwords.hash(new_password)
            session = await self._change_password(caller, seen, new_hash)
            if session is not None:
                return session
        raise Unavailable

    @shielded
    async def _change_password(
        self, caller: Caller, seen: User, new_hash: str
    ) -> NewSession | None:
        async with self.sessions.ending(caller) as ending:
            user = await stored_users.replace_password(ending.db, seen, new_hash, must_change=False)
            if user is None or not user.is_active:
                return None
            # Read under the user's lock: somebody may have ended this session during the hashing.
            if await self.sessions.has_ended(ending.db, caller.login.ref):
                raise NotLoggedIn
            await ending.end_all(user, EndReason.PASSWORD_CHANGED)
            session = await self.sessions.begin(
                ending,
                user,
                platform_connection_id=caller.login.extra.get(CONNECTION_CLAIM),
                remember=caller.login.remember,
            )
            await self.audit.record(
                ending.db,
                AuditEvent.PASSWORD_CHANGED,
                caller,
                user_id=user.id,
                # The session of the caller's next actions.
                detail={"new_session": hash_of_session(session.sid)},
            )
            await self.alerts.password_changed(ending.db, caller, session)
            return session


def _check_replacement(new_password: str, user: User, given: str) -> None:
    """Refuse a password that may not replace a one-time password. Raises InvalidInput."""
    check_new_password(new_password, user.username, user.email)
    if is_same_password(new_password, given):
        raise InvalidInput(SAME_AS_GIVEN, field="new_password")
