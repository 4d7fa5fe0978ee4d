"""Use cases of users: log in, and read who is logged in."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import (
    BadCredentials,
    InvalidInput,
    NotFound,
    PasswordChangeNeeded,
    PasswordChangeNotNeeded,
    TooManyAttempts,
    Unavailable,
)
from quart_app.model import AuditEvent, User
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.services.identity.login_results import LoginResults
from quart_app.services.identity.new_passwords import SAME_AS_GIVEN, check_new_password
from quart_app.services.identity.password_permits import PasswordPermits
from quart_app.services.identity.passwords import is_same_password
from quart_app.services.identity.steps.comparing import MOST_ATTEMPTS, PasswordComparison
from quart_app.services.identity.steps.session_start import SessionStart
from quart_app.services.identity.steps.throttle import Attempt
from quart_app.services.sessions.new_session import NewSession
from quart_app.session.claims import SessionRef
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database

_REFUSED_ALTHOUGH_RIGHT = (
    PasswordChangeNeeded,
    PasswordChangeNotNeeded,
    InvalidInput,
    TooManyAttempts,
)


class _Refused(Exception):  # noqa: N818 named for the fact
    """A refused login. The client gets its answer at a fixed time of the event loop."""

    def __init__(self, until: float, error: BadCredentials | TooManyAttempts) -> None:
        super().__init__()
        self.until, self.error = until, error


@dataclass(frozen=True, kw_only=True)
class _Typed:
    """A filled-in login form."""

    login_name: str
    password: str = field(repr=False)
    remember: bool
    new_password: str | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """Logins with a name and a password."""

    database: Database
    comparison: PasswordComparison
    session_start: SessionStart
    permits: PasswordPermits
    audit: AuditWriter
    results: LoginResults
    # The time from the turn of a login until its refusal is answered. It is fixed because timing
    # would show who exists: a comparison with a hash of the older application takes longer; reading
    # a user takes longer than finding none; and a right password that comes too late was compared,
    # others were not.
    failed_login: timedelta

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
        typed = _Typed(
            login_name=login_name, password=password, remember=remember, new_password=new_password
        )

        async def attempt() -> NewSession:
            async with self._refused_later():
                return await self._log_in(caller, typed, replaced)

        with self.results.counted():
            try:
                return await self.comparison.in_turn(caller, attempt)
            except _Refused as refused:
                # Wait outside the turn, so that others can continue. See `failed_login`.
                await asyncio.sleep(refused.until - asyncio.get_running_loop().time())
                raise refused.error from None

    @asynccontextmanager
    async def _refused_later(self) -> AsyncIterator[None]:
        until = asyncio.get_running_loop().time() + self.failed_login.total_seconds()
        try:
            yield
        except (BadCredentials, TooManyAttempts) as error:
            raise _Refused(until, error) from None

    async def _log_in(
        self, caller: Caller, typed: _Typed, replaced: Sequence[SessionRef]
    ) -> NewSession:
        attempt = await self.comparison.throttling.reserve(
            caller, partial(self._attempt_by, caller, typed.login_name)
        )
        user = attempt.user
        # Start over if the password changes, or the user is deactivated, during the comparison: a
        # login must not outlive the state that it was checked against.
        for _ in range(MOST_ATTEMPTS):
            matches = await self.comparison.matches(attempt, user, typed.password)
            if user is None or not matches or not user.is_active:
                # Leave out the typed name: somebody may have typed their password there.
                self.audit.count(AuditEvent.LOGIN_FAILED, caller, user_id=user.id if user else None)
                await self.comparison.throttling.fail(attempt)
                raise BadCredentials
            session = await self._begin_session(caller, user, typed, replaced, attempt)
            if session is not None:
                return session
            async with self.database.read() as db:
                user = await stored_users.user_by_login_name(db, typed.login_name)
        raise Unavailable

    async def _attempt_by(self, caller: Caller, login_name: str, db: AsyncSession) -> Attempt:
        user = await stored_users.user_by_login_name(db, login_name)
        return self.comparison.throttling.login(caller, login_name, user)

    async def _begin_session(
        self,
        caller: Caller,
        user: User,
        typed: _Typed,
        replaced: Sequence[SessionRef],
        attempt: Attempt,
    ) -> NewSession | None:
        """Begin a session after the right password; None if the user has changed meanwhile."""
        try:
            return await self.session_start.begin(
                caller,
                user,
                new_hash=await self._hash_to_keep(user, typed),
                remember=typed.remember,
                replaced=replaced,
                attempt=attempt,
            )
        except _REFUSED_ALTHOUGH_RIGHT:
            # Count a right password that begins no session: it may have been guessed.
            self.audit.count(AuditEvent.LOGIN_INCOMPLETE, caller, user_id=user.id)
            await self.comparison.throttling.take_back(attempt)
            raise

    async def _hash_to_keep(self, user: User, typed: _Typed) -> str:
        """Return the hash to store for the user after this login with the right password.

        Raises PasswordChangeNeeded with the permit for choosing a password later,
        PasswordChangeNotNeeded, InvalidInput.
        """
        if user.must_change_password:
            if typed.new_password is None:
                raise PasswordChangeNeeded(
                    self.permits.token_for(
                        user, remember=typed.remember, login_name=typed.login_name
                    )
                )
            check_new_password(typed.new_password, user.username, user.email)
            if is_same_password(typed.new_password, typed.password):
                raise InvalidInput(SAME_AS_GIVEN, field="new_password")
            return await self.comparison.passwords.hash(typed.new_password)
        if typed.new_password is not None:
            raise PasswordChangeNotNeeded(field="new_password")
        if self.comparison.passwords.needs_rehash(user.password_hash):
            return await self.comparison.passwords.hash(typed.password)
        return user.password_hash

    async def user(self, caller: Caller) -> User:
        """Return the caller's user. Raises NotFound if they were deleted or are inactive."""
        async with self.database.read() as db:
            user = await stored_users.user_by_id(db, caller.user_id)
        if user is None or not user.is_active:
            raise NotFound
        return user
