"""Set-up links: a signed, short-lived token, valid until the first user exists."""

from collections.abc import Sequence
from datetime import timedelta

from itsdangerous import BadData, URLSafeTimedSerializer

LIFETIME = timedelta(hours=24)
_SET_UP = "set-up"


class SetupTokens:
    """Makes and checks the tokens. `keys` are the session's, newest first, under another salt.

    Nothing is stored. A set-up link works once, because its use creates a user (see
    Users.set_up).
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._tokens = URLSafeTimedSerializer(list(reversed(keys)), salt="quart_app-link")

    def set_up_token(self) -> str:
        """Return a token for a set-up link, which makes the first user."""
        return str(self._tokens.dumps(_SET_UP))

    def is_set_up_token(self, token: str) -> bool:
        """Return whether we made it within the last 24 hours."""
        try:
            purpose: object = self._tokens.loads(token, max_age=int(LIFETIME.total_seconds()))
        except (BadData, ValueError):
            return False
        return purpose == _SET_UP
