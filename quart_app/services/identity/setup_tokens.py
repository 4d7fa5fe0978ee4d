"""One-time links: a signed, short-lived token that the database makes good for one use only."""

from collections.abc import Sequence
from datetime import timedelta

from itsdangerous import BadData, URLSafeTimedSerializer

LIFETIME = timedelta(hours=24)
_SET_UP = "set-up"


class SetupTokens:
    """Makes and checks the tokens; `keys` are the session's, newest first, under another salt.

    Nothing is stored: that a set-up link is good for once follows from its use, after which
    there is a user (see Accounts.set_up).
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._tokens = URLSafeTimedSerializer(list(reversed(keys)), salt="quart_app-link")

    def set_up_token(self) -> str:
        """Return a token for whoever is to make the first user."""
        return str(self._tokens.dumps(_SET_UP))

    def is_set_up_token(self, token: str) -> bool:
        """Tell whether we made it within the last 24 hours."""
        try:
            purpose: object = self._tokens.loads(token, max_age=int(LIFETIME.total_seconds()))
        except (BadData, ValueError):
            return False
        return purpose == _SET_UP
