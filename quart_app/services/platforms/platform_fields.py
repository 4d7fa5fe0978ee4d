"""Fields of an account that a user types: check and tidy its name, server and access token."""

import re
import unicodedata
from typing import Final

from quart_app.errors import InvalidInput
from quart_app.instances import account_at, read_address
from quart_app.model import PLATFORM_NAME_LENGTH
from quart_app.text import names

# A prefix that users copy from documentation or from a request.
_BEARER: Final = re.compile(r"\s*(?:authorization:\s*)?bearer(?:\s+|\Z)", re.IGNORECASE)
_NOT_VISIBLE_ASCII: Final = re.compile(r"[^\x21-\x7e]")  # VCHAR, RFC 9110 section 5.5
# Browsers read `https://a\@b` as an address at `a`, and others as one at `b`.
_AMBIGUOUS: Final = re.compile(r"[\s\\]")
_NAMES_OF_CONTROLS: Final = {"\t": "tab", "\n": "line break", "\r": "line break"}


def checked_name(name: str) -> str:
    """Return the user's own name for an account, trimmed. Raises InvalidInput."""
    name = name.strip()
    longest = PLATFORM_NAME_LENGTH
    if not names.is_writable(name):
        raise InvalidInput(names.SENTENCE, field="name")
    if not names.is_visible(name) or len(name) > longest:
        raise InvalidInput(f"A name must have 1 to {longest} characters.", field="name")
    return name


def checked_url(text: str) -> str:
    """Return `https://host[:port]` of a server that a user typed, perhaps only as the host.

    Raises InvalidInput for anything more: a path, a user name, another scheme.
    """
    try:
        address = read_address(text)
    except ValueError:  # includes UnicodeError, for an impossible host name
        address = None
    if address is None or not address.is_bare or "_" in address.server:
        raise InvalidInput(
            "Enter only the server's name, such as pixelfed.example, without a path.",
            field="instance_url",
        )
    return f"https://{address.server}"


def checked_server(text: str, *, field: str = "server") -> str:
    """Return `host[:port]` of a server named in any usual way. Raises InvalidInput.

    `mastodon.social`, `@me@mastodon.social` and `https://mastodon.social/@me` name one server.
    """
    try:
        server = read_address(text.replace("\uff20", "@")).server  # full-width
    except ValueError:  # includes UnicodeError, for an impossible host name
        server = ""
    if not server or _AMBIGUOUS.search(text.strip()):
        raise InvalidInput(
            "Enter a server or a handle, such as mastodon.social or @me@mastodon.social.",
            field=field,
        )
    return server


def checked_account(instance_url: str, username: str | None) -> str | None:
    """Return the account's name at that server, without @ and the server. Raises InvalidInput."""
    if username is None:
        return None
    if username != username.strip():
        raise InvalidInput("Remove the spaces at the ends of the username.", field="username")
    if not names.is_writable(username):
        raise InvalidInput(names.SENTENCE, field="username")
    account = account_at(instance_url.removeprefix("https://"), username)
    if not names.is_visible(account) or account.startswith("@") or account.endswith("@"):
        raise InvalidInput("Enter a username, such as alice or @alice@server.", field="username")
    return account


def checked_token(text: str) -> str:
    """Return the access token without spaces and line ends around it, and without `Bearer`.

    Raises InvalidInput, which names the first character that no HTTP header can carry.
    """
    bearer = _BEARER.match(text)
    token = text[bearer.end() if bearer else 0 :].strip()
    if not token:
        raise InvalidInput("Enter an access token.", field="access_token")
    if found := _NOT_VISIBLE_ASCII.search(token):
        position = text.index(token, bearer.end() if bearer else 0) + found.start() + 1
        raise InvalidInput(
            f"The token contains {_named(found[0])} at position {position}."
            " Copy it from the server's settings again.",
            field="access_token",
        )
    return token


def _named(character: str) -> str:
    """Return a character in words, such as `a zero-width space` or `an en dash`."""
    name = _NAMES_OF_CONTROLS.get(character) or unicodedata.name(character, "").lower()
    if not name:
        is_control = unicodedata.category(character) == "Cc"
        kind = "a control character" if is_control else "a character without a name"
        return f"{kind} (U+{ord(character):04X})"
    name = name.replace("zero width", "zero-width")
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
