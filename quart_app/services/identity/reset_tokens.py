"""Reset links: their address, their token, and how long they work."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

RESET_LINK_LIFETIME: Final = timedelta(hours=1)
# For a new user's first link, which may be sent by mail. The user has no accounts yet.
FIRST_LINK_LIFETIME: Final = timedelta(days=1)
_TOKEN_BYTES: Final = 32


@dataclass(frozen=True, kw_only=True)
class ResetLink:
    """A link for an administrator or operator to pass on. It is never shown again."""

    url: str
    user_id: int
    username: str
    lifetime: timedelta
    expires_at: datetime


def new_token() -> str:
    """Return a new token. Nobody can guess it."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def hash_of_token(token: str) -> str:
    """Return the hash of a token. Nobody can find the token, 256 random bits, from its hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
