"""Rules for new passwords, and generated passwords."""

import gzip
import re
import secrets
from functools import cache
from pathlib import Path
from typing import Final

from quart_app.errors import InvalidInput
from quart_app.model import PlatformType
from quart_app.services.identity.passwords import LONGEST, SHORTEST

GENERATED_PASSWORD_BYTES = 15  # 20 characters of base64url
SAME_AS_CURRENT: Final = "Choose a password other than the current one."
SAME_AS_GIVEN: Final = "Choose a password other than the one you were given."
_COMMONEST: Final = Path(__file__).parent / "vendor" / "django-6.1.3-common-passwords.txt.gz"
# Words of this service, which attackers guess first (OWASP ASVS 5.0, 6.2.11).
_OF_THIS_SERVICE: Final = ("quart_app", "fediverse", *(each.value for each in PlatformType))
_TRIVIAL_LENGTH: Final = 8  # as a date's digits


def generated_password() -> str:
    """Return a random password that nobody can guess."""
    return secrets.token_urlsafe(GENERATED_PASSWORD_BYTES)


def check_new_password(password: str, username: str, email: str) -> None:
    """Refuse passwords that are guessed first.

    There is no rule about kinds of characters (NIST SP 800-63B-4, 3.1). Raises InvalidInput.
    """
    if sentence := _what_is_wrong(password, username, email):
        raise InvalidInput(sentence, field="new_password")


def _what_is_wrong(password: str, username: str, email: str) -> str | None:
    if not SHORTEST <= len(password) <= LONGEST:
        return f"A password must have {SHORTEST} to {LONGEST} characters."
    if re.search("[\x00\ud800-\udfff]", password):
        return "A password can't contain NUL characters or invalid text."
    local_part = email.rpartition("@")[0]
    if any(_is_little_more_than(word, password) for word in (username, email, local_part)):
        return "This password is too similar to the name or e-mail address. Choose another."
    if any(_is_little_more_than(word, password) for word in _OF_THIS_SERVICE):
        return "This password is too similar to the name of this service. Choose another."
    if password.casefold().strip() in _commonest_passwords():
        return "This is one of the most common passwords. Choose another."
    return None


def _is_little_more_than(word: str, password: str) -> bool:
    """Return whether a password is only the word, repeated or not, and a few digits or signs.

    Any other word beside it makes a passphrase.
    """
    if password.casefold() == word.casefold():
        return True
    sought, letters_and_digits = _without_signs(word), _without_signs(password)
    if sought.isdigit():  # many numbers contain it, so compare the whole password
        return letters_and_digits == sought
    if not sought or sought not in letters_and_digits:
        return False
    rest = letters_and_digits.replace(sought, "")
    added = len(password) - (len(letters_and_digits) - len(rest))
    return added <= _TRIVIAL_LENGTH and not any(map(str.isalpha, rest))


def _without_signs(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


@cache
def _commonest_passwords() -> frozenset[str]:
    """Return the common passwords of allowed length: 1 MB, read once in a few milliseconds."""
    text = gzip.decompress(_COMMONEST.read_bytes()).decode()
    return frozenset(line.casefold() for line in text.splitlines() if len(line) >= SHORTEST)
