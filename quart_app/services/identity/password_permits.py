"""The permit to replace a one-time password, for a user who has just typed it."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from itsdangerous import BadData, URLSafeSerializer

from quart_app.model import User
from quart_app.text.login_names import email_key

PERMIT_LIFETIME: Final = timedelta(minutes=10)
_FINGERPRINT_LENGTH: Final = 32


@dataclass(frozen=True, kw_only=True)
class Permit:
    """The user whose password may be replaced, and how that user was logging in.

    `typed_email` tells whether they typed their e-mail address or their name: the throttle counts
    the two separately.
    """

    user_id: int
    remember: bool
    typed_email: bool
    state: str

    def fits(self, user: User) -> bool:
        """Return whether the user's login is unchanged since. Using the permit changes it, too."""
        return bool(user.is_active and user.must_change_password and self.state == _state_of(user))


class PasswordPermits:
    """Makes and reads permits as signed tokens; nothing is stored.

    A permit is no session: it replaces one password. It is good once and for PERMIT_LIFETIME,
    because it names the hash of the password that its use replaces. `keys` are the session's,
    newest first, under another salt.
    """

    def __init__(self, keys: Sequence[str], now: Callable[[], datetime]) -> None:
        self._tokens = URLSafeSerializer(list(reversed(keys)), salt="quart_app-new-password")
        self._now = now

    def token_for(self, user: User, *, remember: bool, login_name: str) -> str:
        """Return the token of a permit for a user who gave the right one-time password."""
        typed_email = email_key(login_name) == email_key(user.email)
        until = int((self._now() + PERMIT_LIFETIME).timestamp())
        return str(self._tokens.dumps([user.id, remember, typed_email, _state_of(user), until]))

    def permit_of(self, token: str) -> Permit | None:
        """Return the permit; None if we did not make it or it is too old."""
        try:
            payload = self._tokens.loads(token)
        except (BadData, ValueError, RecursionError):
            return None
        match payload:
            case [int(user_id), bool(remember), bool(typed_email), str(state), int(until)]:
                if self._now().timestamp() < until:
                    return Permit(
                        user_id=user_id, remember=remember, typed_email=typed_email, state=state
                    )
        return None


def _state_of(user: User) -> str:
    """Return a fingerprint that a new password, or the end of all sessions, changes."""
    text = f"{user.session_epoch} {user.password_hash}"
    return hashlib.sha256(text.encode()).hexdigest()[:_FINGERPRINT_LENGTH]
