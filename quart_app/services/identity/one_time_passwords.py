"""One-time passwords: use cases of a user who typed one, and now chooses a password."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import InvalidInput, NotLoggedIn, TooManyAttempts
from quart_app.model import User
from quart_app.services.caller import Caller
from quart_app.services.identity.login_results import LoginResults
from quart_app.services.identity.new_passwords import SAME_AS_GIVEN, check_new_password
from quart_app.services.identity.password_permits import PasswordPermits, Permit
from quart_app.services.identity.steps.comparing import PasswordComparison
from quart_app.services.identity.steps.session_start import SessionStart
from quart_app.services.identity.steps.throttle import Attempt
from quart_app.services.sessions.new_session import NewSession
from quart_app.session.claims import SessionRef
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database


@dataclass(frozen=True, kw_only=True)
class OneTimePasswords:
    """The second step of a first login, with the permit from the first step."""

    database: Database
    comparison: PasswordComparison
    session_start: SessionStart
    permits: PasswordPermits
    results: LoginResults

    def is_permit(self, token: str) -> bool:
        """Return whether we made this token, and not too long ago."""
        return self.permits.permit_of(token) is not None

    async def user_of(self, token: str) -> User:
        """Return the user who may choose a password with this permit. Raises NotLoggedIn."""
        user, _ = await self._user_and_permit(token)
        return user

    async def replace(
        self,
        caller: Caller,
        token: str,
        new_password: str,
        *,
        replaced: Sequence[SessionRef] = (),
    ) -> NewSession:
        """Set the user's new password, and begin their session. The sessions `replaced` end.

        Raises NotLoggedIn if the permit is used, too old or void, InvalidInput (the permit stays
        valid), TooManyAttempts if this name must wait, Busy.
        """
        replace = partial(self._replace, caller, token, new_password, replaced)
        with self.results.counted():
            session = await self.comparison.in_turn(caller, replace)
            if session is None:  # the permit was used, or the user changed, at the same moment
                raise NotLoggedIn
            return session

    async def _replace(
        self, caller: Caller, token: str, new_password: str, replaced: Sequence[SessionRef]
    ) -> NewSession | None:
        throttling = self.comparison.throttling
        user, permit = await self._user_and_permit(token)
        check_new_password(new_password, user.username, user.email)
        if await self.comparison.passwords.matches(user.password_hash, new_password):
            raise InvalidInput(SAME_AS_GIVEN, field="new_password")
        new_hash = await self.comparison.passwords.hash(new_password)
        login_name = user.email if permit.typed_email else user.username

        async def attempt(_db: AsyncSession) -> Attempt:
            return throttling.login(caller, login_name, user)

        reserved = await throttling.reserve(caller, attempt)
        # Not `finally`: the session of a cancelled request still begins, and takes it back.
        try:
            session = await self.session_start.begin(
                caller,
                user,
                new_hash=new_hash,
                remember=permit.remember,
                replaced=replaced,
                attempt=reserved,
            )
        except TooManyAttempts:  # too many logins within an hour
            await throttling.take_back(reserved)
            raise
        if session is None:
            await throttling.take_back(reserved)
        return session

    async def _user_and_permit(self, token: str) -> tuple[User, Permit]:
        permit = self.permits.permit_of(token)
        if permit is None:
            raise NotLoggedIn
        async with self.database.read() as db:
            user = await stored_users.user_by_id(db, permit.user_id)
        if user is None or not permit.fits(user):
            raise NotLoggedIn
        return user, permit
