"""Reauthentication: ask for the password again before a change that a thief would make."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import BadCredentials, NotFound, PasswordNeeded
from quart_app.model import AuditEvent, User
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.services.identity.steps.comparing import PasswordComparison
from quart_app.services.identity.steps.throttle import Attempt
from quart_app.storage import users as stored_users

# A user with an older login must give their password again (ASVS 7.5.3).
REAUTHENTICATION_WINDOW: Final = timedelta(minutes=15)


@dataclass(frozen=True)
class Reauthentication:
    """Confirms that the person who uses a session knows its user's password."""

    comparison: PasswordComparison
    audit: AuditWriter
    now: Callable[[], datetime]

    def is_password_needed(self, caller: Caller) -> bool:
        """Return whether the caller's login is too old to end another without the password."""
        return self.now() - caller.login.created_at > REAUTHENTICATION_WINDOW

    async def require_fresh_login(self, caller: Caller, current_password: str | None) -> None:
        """Make sure that the caller's login is fresh, or that they know their password.

        The operator needs neither. Raises PasswordNeeded, BadCredentials, NotFound,
        TooManyAttempts, Busy.
        """
        if caller.is_operator:
            return
        if current_password is not None:
            await self.confirm(caller, current_password)
        elif self.is_password_needed(caller):
            raise PasswordNeeded(field="current_password")

    async def confirm(self, caller: Caller, current_password: str) -> User:
        """Make sure that the caller knows their password, and return their user.

        Raises BadCredentials, NotFound, TooManyAttempts, Busy.
        """
        return await self.comparison.in_turn(
            caller, partial(self._confirm, caller, current_password)
        )

    async def _confirm(self, caller: Caller, current_password: str) -> User:
        throttling = self.comparison.throttling
        attempt = await throttling.reserve(caller, partial(self._attempt_of, caller))
        user = attempt.user
        if user is None or not user.is_active:
            raise NotFound
        if not await self.comparison.matches(attempt, user, current_password):
            self.audit.count(AuditEvent.REAUTHENTICATION_FAILED, caller)
            await throttling.fail(attempt)
            raise BadCredentials("The current password is wrong.", field="current_password")
        await throttling.take_back(attempt)
        return user

    async def _attempt_of(self, caller: Caller, db: AsyncSession) -> Attempt:
        user = await stored_users.user_by_id(db, caller.user_id)
        return self.comparison.throttling.confirmation(caller, user)
