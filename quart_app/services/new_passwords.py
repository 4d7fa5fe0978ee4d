"""What a password must be when one is set, and one that we make."""

import re
import secrets

from quart_app.errors import InvalidInput
from quart_app.services.passwords import LONGEST, SHORTEST

GENERATED_PASSWORD_BYTES = 15  # 20 characters of base64url


def generated_password() -> str:
    """Return a password that nobody could guess."""
    return secrets.token_urlsafe(GENERATED_PASSWORD_BYTES)


def check_new_password(password: str, username: str, email: str) -> None:
    """Refuse what is guessed first; no rule about kinds of characters (NIST SP 800-63B-4, 3.1)."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidInput(
            f"A password has {SHORTEST} to {LONGEST} characters.", field="new_password"
        )
    if re.search("[\x00\ud800-\udfff]", password):
        raise InvalidInput("A password is text without a NUL character.", field="new_password")
    if password.casefold() in {username.casefold(), email.casefold()}:
        raise InvalidInput("A password is not the name or the address.", field="new_password")
