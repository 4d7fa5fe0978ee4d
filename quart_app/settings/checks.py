"""Checks of single settings, wherever their values come from."""

import re
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from sqlalchemy.engine import URL

from quart_app.hosts import ascii_host
from quart_app.settings.errors import PREFIX, SettingsError

_SHORTEST_KEY_BYTES = 32
_FEWEST_DISTINCT_CHARACTERS = 8
_LONGEST_COOKIE_NAME = 64
# RFC 6265 section 4.1.1: a cookie's name is an HTTP token.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# An origin and a path whose spelling no proxy or browser changes (RFC 3986 section 2.3).
_PUBLIC_URL = re.compile(
    r"(?i:https?)://([^\s/?#@:\\\[\]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?((?:/[A-Za-z0-9_.~-]+)*)/?"
)
_LONGEST_PATH = 100
_GUARDED_PATH = re.compile(r"(?:/[A-Za-z0-9_.~-]+)+/")


def check_key(name: str, key: str) -> None:
    """Refuse a key that could be guessed. Raises SettingsError, like every check here."""
    if re.search("[\ud800-\udfff]", key):  # how Python reads bytes that are not UTF-8
        raise SettingsError(f"{PREFIX}{name} has a key that is not UTF-8 text")
    if len(key.encode()) < _SHORTEST_KEY_BYTES:
        raise SettingsError(f"{PREFIX}{name} has a key shorter than {_SHORTEST_KEY_BYTES} bytes")
    if len(set(key)) < _FEWEST_DISTINCT_CHARACTERS:
        raise SettingsError(f"{PREFIX}{name} has a key of a few repeated characters")


def check_fernet_key(key: str) -> None:
    """Refuse a key that Fernet can't use."""
    try:
        Fernet(key)
    except ValueError:
        raise SettingsError(
            f"{PREFIX}PLATFORM_ENCRYPTION_KEY is not a Fernet key (44 characters of base64url)"
        ) from None


def check_cookie_name(text: str) -> None:
    """Refuse a name that browsers reject, or whose prefix promises something unknown here."""
    name = f"{PREFIX}SESSION_COOKIE_NAME"
    if not _TOKEN.fullmatch(text):
        raise SettingsError(f"{name} may contain only letters, digits and -_.")
    if len(text) > _LONGEST_COOKIE_NAME:
        raise SettingsError(f"{name} has more than {_LONGEST_COOKIE_NAME} characters")
    if text.startswith("__"):
        raise SettingsError(f"{name} must not start with __: the prefix depends on PUBLIC_URL")


def check_public_url(text: str) -> None:
    """Refuse a URL that is not an origin, with or without a path of plain characters."""
    found = _PUBLIC_URL.fullmatch(text)
    try:
        well_formed = (
            found is not None
            and _is_host(found[1])
            and urlsplit(text).port != 0
            and len(found[3]) <= _LONGEST_PATH
            and not {".", ".."} & set(found[3].split("/"))
        )
    except ValueError:
        well_formed = False
    if not well_formed:
        raise SettingsError(
            f"{PREFIX}PUBLIC_URL must be http:// or https:// followed by a host, and perhaps by a"
            " path of letters, digits and -._~ such as /app"
        )


def check_guarded_path(path: str, *, root_path: str) -> None:
    """Refuse a path that is not a folder's, in the one spelling that no proxy changes.

    Also one that is not below the root path, because browsers send no session cookie there.
    """
    if (
        not _GUARDED_PATH.fullmatch(path)
        or len(path) > _LONGEST_PATH
        or {".", ".."} & set(path.split("/"))
    ):
        raise SettingsError(
            f"{PREFIX}GUARDED_PATHS must have paths of letters, digits and -._~ between slashes,"
            " such as /old/"
        )
    if not path.startswith(f"{root_path}/"):
        raise SettingsError(
            f"{PREFIX}GUARDED_PATHS must be below {root_path}/, the path of {PREFIX}PUBLIC_URL:"
            " browsers send the session cookie only there"
        )


def check_listen_url(database_url: URL, listen_url: URL) -> None:
    """Refuse a URL for LISTEN where either is SQLite, which lacks it.

    The databases' names may differ, because a pooler may have names of its own.
    """
    for name, url in (("DATABASE_LISTEN_URL", listen_url), ("DATABASE_URL", database_url)):
        if url.get_backend_name() != "postgresql":
            raise SettingsError(
                f"{PREFIX}{name} must start with postgresql://"
                f" because {PREFIX}DATABASE_LISTEN_URL is set"
            )


def _is_host(host: str) -> bool:
    """Return whether it is a host name or an IP address; ValueError if it can't be parsed."""
    if host.startswith("["):
        return bool(IPv6Address(host[1:-1]))
    return bool(ascii_host(host))
