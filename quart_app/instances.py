"""Normalise the addresses of Fediverse servers and the names of accounts, to compare or show them.

Stored values are not rewritten.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from quart_app.hosts import ascii_host
from quart_app.text.login_names import name_key

_DEFAULT_PORTS: Final = {None, 443}
_LARGEST_PORT: Final = 65535
# Profile URLs: https://server/@name@other-server, server/users/name.
_PROFILE: Final = re.compile(
    r"(?:https?://(?P<server>[^/@]+)/(?:web/)?(?:@|users/)?|(?P<bare>[^/@]+\.[^/@]+)/(?:@|users/))"
    r"(?P<name>[^/@]+)(?:@(?P<host>[^/@]+))?/?",
    re.IGNORECASE,
)
_SCHEME: Final = re.compile(r"acct:", re.IGNORECASE)


@dataclass(frozen=True)
class Address:
    """A parsed server address. `server` is `host`, or `host:port` if the port is not the default.

    `is_bare` is False if the text had more: a path, a user name, a query or another scheme.
    """

    server: str
    is_bare: bool


def read_address(text: str) -> Address:
    """Parse a server's address: `server.example`, or a URL of the server or of a page on it.

    Raises ValueError if the text names no server.
    """
    text = text.strip()
    url = urlsplit(text if "://" in text else f"https://{text}")
    if url.scheme not in {"https", "http"}:
        raise ValueError("not an address on the web")
    host, port = ascii_host(url.hostname or ""), url.port
    if port == 80 and url.scheme == "http":  # noqa: PLR2004 RFC 9110 section 4.2.1
        port = None
    if port is not None and not 0 < port <= _LARGEST_PORT:
        raise ValueError("no such port")
    is_bare = (
        url.scheme == "https"
        and url.path in {"", "/"}
        and not (url.query or url.fragment or "@" in url.netloc)
    )
    return Address(host if port in _DEFAULT_PORTS else f"{host}:{port}", is_bare)


@lru_cache(maxsize=4096)  # a search parses the same few servers for many accounts
def server_of(instance_url: str) -> str:
    """Return the server of a stored address, `host[:port]`; other text is returned unchanged."""
    try:
        return read_address(instance_url).server
    except ValueError:
        return instance_url.strip()


@lru_cache(maxsize=4096)  # a list of accounts shows each of them
def url_of(instance_url: str) -> str:
    """Return a stored address as `https://host[:port]`; other text is returned unchanged."""
    try:
        return f"https://{read_address(instance_url).server}"
    except ValueError:
        return instance_url.strip()


def account_at(server: str, username: str) -> str:
    """Return an account's name on its server, without a leading @ and without the server's name.

    `alice`, `@alice`, `alice@server` and `https://server/@alice` are the same account. Another
    host in the name is kept, because some servers name their users under another domain.
    """
    name = username.strip().replace("\uff20", "@")  # full-width
    if profile := _PROFILE.fullmatch(name):
        name = f"{profile['name']}@{profile['host'] or profile['server'] or profile['bare']}"
    name = _SCHEME.sub("", name, count=1).removeprefix("@")
    local, at, host = name.rpartition("@")
    if not at or not local:
        return name
    server_of_name = server_of(host)
    return local if server_of_name == server else f"{local}@{server_of_name}"


def username_of(instance_url: str, username: str | None) -> str | None:
    """Return the name of a stored account on its stored server; None if it is unknown."""
    return account_at(server_of(instance_url), username) or None if username else None


def is_same_account(server: str, username: str, other: str) -> bool:
    """Return whether two spellings name the same account of a server.

    Case, character width, Unicode composition and invisible characters are ignored.
    """
    return name_key(account_at(server, username)) == name_key(account_at(server, other))
