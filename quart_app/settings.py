"""Settings, one frozen value; `Settings.from_environ()` is the only reader of the environment."""

import dataclasses
import difflib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from io import StringIO
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from cryptography.fernet import Fernet
from dotenv.parser import parse_stream
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

PREFIX = "QUART_APP_"
SECRETS_FILE = Path("instance/.env")
_ENV_FILES = (SECRETS_FILE, Path(".env"))  # the later wins; the environment wins over both
_SHORTEST_KEY_BYTES = 32
_FEWEST_DISTINCT_CHARACTERS = 8
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_LARGEST_PORT = 65535
_LF = "\n"
# What may follow a SQLite path's ?: https://www.sqlite.org/uri.html, and sqlite3.connect's timeout.
# Not `vfs` and what else could lead away from a file on disk.
_SQLITE_OPTIONS = {
    "mode": "ro|rw|rwc",
    "cache": "private|shared",
    "immutable": "[01]",
    "nolock": "[01]",
    "timeout": r"[0-9]{1,4}(\.[0-9]{1,3})?",
    "uri": "true|1",
}
_LONGEST_COOKIE_NAME = 64
_LONGEST_RETENTION_DAYS = 36_500
# A DNS name's label, with the _ that names of containers and hosts in a company's network have.
_LABEL = r"[0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?"
_HOST = re.compile(rf"(?=.{{1,254}}\Z){_LABEL}(\.{_LABEL})*\.?")
# RFC 6265 section 4.1.1: a cookie's name is an HTTP token.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ORIGIN = re.compile(r"(?i:https?)://([^\s/?#@:\\\[\]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?/?")


class SettingsError(Exception):
    """A setting is missing, misspelt or wrong; the message is one line that names it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that an operator can choose; making one checks it and may raise SettingsError.

    `platform_encryption_keys` and the session's keys are newest first; the newest encrypts or
    signs, all are understood.
    """

    secret_key: str = field(repr=False)
    secret_key_fallbacks: tuple[str, ...] = field(default=(), repr=False)
    platform_encryption_keys: tuple[str, ...] = field(repr=False)
    database_url: URL = field(default_factory=lambda: make_url(_DEFAULT_DATABASE_URL))
    public_url: str = "http://127.0.0.1:8000"
    session_cookie_name: str = "session"
    session_cookie_secure: bool | None = None  # None: as public_url says
    session_digest: Literal["sha1", "sha256"] = "sha1"
    session_idle: timedelta = timedelta(hours=8)
    session_absolute: timedelta = timedelta(hours=24)
    session_remember_idle: timedelta = timedelta(days=30)
    session_remember_absolute: timedelta = timedelta(days=30)
    session_renewal: timedelta = timedelta(seconds=60)
    refuse_after: timedelta = timedelta(seconds=10)
    login_queue: timedelta = timedelta(seconds=30)
    failed_login: timedelta = timedelta(seconds=1)
    audit_retention: timedelta = timedelta(days=365)
    trusted_proxies: int = 0
    allowed_private_networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what would be weak or would contradict itself."""
        _check_key("SECRET_KEY", self.secret_key)
        for key in self.secret_key_fallbacks:
            _check_key("SECRET_KEY_FALLBACKS", key)
        if not self.platform_encryption_keys:
            raise SettingsError(f"{PREFIX}PLATFORM_ENCRYPTION_KEY names no key")
        for key in self.platform_encryption_keys:
            _check_fernet_key(key)
        _check_public_url(self.public_url)
        _check_cookie_name(self.session_cookie_name)
        if self.session_cookie_secure is False and self.is_https:
            raise SettingsError(
                f"{PREFIX}SESSION_COOKIE_SECURE can't be false while {PREFIX}PUBLIC_URL is https"
            )
        for idle, absolute, name in (
            (self.session_idle, self.session_absolute, "SESSION_IDLE_SECONDS"),
            (
                self.session_remember_idle,
                self.session_remember_absolute,
                "SESSION_REMEMBER_IDLE_SECONDS",
            ),
        ):
            if idle > absolute:
                raise SettingsError(f"{PREFIX}{name} is longer than the absolute limit beside it")
            if self.session_renewal >= idle:
                raise SettingsError(
                    f"{PREFIX}SESSION_RENEWAL_SECONDS must be shorter than {PREFIX}{name}"
                )

    @property
    def is_https(self) -> bool:
        """Whether people reach this site by https."""
        return urlsplit(self.public_url).scheme == "https"

    @property
    def cookie_secure(self) -> bool:
        """Whether cookies carry Secure."""
        return self.is_https if self.session_cookie_secure is None else self.session_cookie_secure

    @property
    def cookie_name(self) -> str:
        """The session cookie's name on the wire; `__Host-` binds it to this host (RFC 6265bis)."""
        return f"__Host-{self.session_cookie_name}" if self.is_https else self.session_cookie_name

    @property
    def session_keys(self) -> tuple[str, ...]:
        """What signs (the first) and verifies (all) a session."""
        return (self.secret_key, *self.secret_key_fallbacks)

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str] | None = None, *, directory: Path = Path()
    ) -> "Settings":
        """Read the environment, and `.env` and `instance/.env` in `directory`.

        Raises SettingsError, whose message names the setting; the whole line is for an operator.
        """
        given = _given(environ, directory)
        _read_secret_files(given, directory)
        for name in given:
            if name not in _READERS:
                shown = name if name.isprintable() else name.encode("unicode_escape").decode()
                raise SettingsError(f"{PREFIX}{shown} is not a setting{_did_you_mean(name)}")
        for name in _NEEDED:
            if name not in given:
                raise SettingsError(
                    f"{PREFIX}{name} is missing: `python -m quart_app keys new` makes one"
                )
        values: dict[str, Any] = {}
        for name, text in given.items():
            attribute, read = _READERS[name]
            try:
                values[attribute] = read(text)
            except ValueError as error:
                raise SettingsError(f"{PREFIX}{name} {error}") from None
        return cls(**values)


_NOT_TAKEN = "has, after its ?, what this database does not take"
_DEFAULT_DATABASE_URL = "sqlite+aiosqlite:///instance/quart_app.db"


def missing_secrets(
    environ: Mapping[str, str] | None = None, *, directory: Path = Path()
) -> list[str]:
    """Return the environment names of the secrets that are needed and that nothing gives yet.

    Raises SettingsError where a file can't be read.
    """
    given = _given(environ, directory)
    return [f"{PREFIX}{name}" for name in _NEEDED if not {name, f"{name}_FILE"} & given.keys()]


def database_url_from_environ(
    environ: Mapping[str, str] | None = None, *, directory: Path = Path()
) -> URL:
    """Read that one setting as Settings.from_environ does, for what needs no keys.

    Raises SettingsError.
    """
    given = _given(environ, directory)
    _read_secret_files(given, directory)
    try:
        return read_database_url(given.get("DATABASE_URL", _DEFAULT_DATABASE_URL))
    except ValueError as error:
        raise SettingsError(f"{PREFIX}DATABASE_URL {error}") from None


def with_setting(settings: Settings, **changes: Any) -> Settings:
    """Return the same settings with `changes`, checked again."""
    return dataclasses.replace(settings, **changes)


def read_database_url(text: str) -> URL:
    """Parse a database's URL, the plain forms included, to the one with the driver we use.

    ValueError says what is wrong, and never repeats the text: it may hold a password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # ValueError of a port that is none
        raise ValueError("is not a database URL such as sqlite:///instance/quart_app.db") from None
    if url.drivername not in _DRIVERS:
        raise ValueError(f"must start with sqlite:/// or postgresql://, not {url.drivername}:")
    url = url.set(drivername=_DRIVERS[url.drivername])
    if url.get_backend_name() == "sqlite":
        _check_sqlite_url(url)
    else:
        _check_postgresql_url(url)
    return url


def _check_sqlite_url(url: URL) -> None:
    if url.host or url.port or url.username or url.password:
        raise ValueError("must have three slashes before a relative path and four before /")
    path = url.database or ""
    if path.startswith("file:"):
        path = unquote(path.removeprefix("file:"))
    if path in {"", ":memory:"} or url.query.get("mode") == "memory":
        raise ValueError("must name a file: a database in memory would be lost with the process")
    for name, value in url.query.items():
        allowed = _SQLITE_OPTIONS.get(name)
        if allowed is None or not isinstance(value, str) or not re.fullmatch(allowed, value):
            raise ValueError(_NOT_TAKEN)


def _check_postgresql_url(url: URL) -> None:
    ports = [] if url.port is None else [str(url.port)]
    in_query = url.query.get("port", ())
    ports += in_query.split(",") if isinstance(in_query, str) else in_query
    if not all(
        re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) <= _LARGEST_PORT for port in ports
    ):
        raise ValueError(f"names a port that is none: they go from 1 to {_LARGEST_PORT}")
    if not _psycopg_takes_options_of(url):
        raise ValueError(_NOT_TAKEN)


def _psycopg_takes_options_of(url: URL) -> bool:
    try:
        from psycopg import ProgrammingError  # noqa: PLC0415 comes with the extra `postgres`
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415
    except ImportError:
        raise ValueError("needs psycopg: install quart-app[postgres]") from None
    try:
        make_conninfo(**{name: str(value) for name, value in url.query.items()})
    except ProgrammingError:
        return False
    return True


def _given(environ: Mapping[str, str] | None, directory: Path) -> dict[str, str]:
    """Return our settings as they stand in the environment and the files, without the prefix."""
    given: dict[str, str] = {}
    for path in _ENV_FILES:
        try:
            given |= _ours(_read_env_file(directory, path))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"The file {path} can't be read: {_reason(error)}") from None
    return given | _ours(os.environ if environ is None else environ)


def _read_env_file(directory: Path, path: Path) -> dict[str, str]:
    """Return what the file sets; a line of ours that sets nothing is refused, not passed over."""
    values: dict[str, str] = {}
    for line in parse_stream(StringIO((directory / path).read_text(encoding="utf-8"))):
        text = line.original.string
        if line.key is not None and line.value is not None and not line.error:
            values[line.key] = line.value
        elif PREFIX in text.partition("#")[0]:
            blank = text[: len(text) - len(text.lstrip())]
            raise SettingsError(
                f"The file {path} has no NAME=VALUE in line {line.original.line + blank.count(_LF)}"
            )
    return values


def _ours(environ: Mapping[str, str | None]) -> dict[str, str]:
    return {
        name.removeprefix(PREFIX): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and value is not None
    }


def _read_secret_files(given: dict[str, str], directory: Path) -> None:
    for name in [name for name in given if name.removesuffix("_FILE") in _SECRETS]:
        secret = name.removesuffix("_FILE")
        if secret == name:
            continue
        if secret in given:
            raise SettingsError(f"{PREFIX}{secret} and {PREFIX}{name} are both given; one must go")
        try:
            text = (directory / given.pop(name)).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{PREFIX}{name} can't be read: {_reason(error)}") from None
        given[secret] = text.rstrip("\r\n")


def _reason(error: OSError | UnicodeDecodeError) -> str | None:
    return error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"


def _did_you_mean(name: str) -> str:
    close = difflib.get_close_matches(name, _READERS, n=1)
    return f"; did you mean {PREFIX}{close[0]}?" if close else ""


def _check_key(name: str, key: str) -> None:
    if re.search("[\ud800-\udfff]", key):  # how Python reads bytes that are not UTF-8
        raise SettingsError(f"{PREFIX}{name} holds a key that is not UTF-8 text")
    if len(key.encode()) < _SHORTEST_KEY_BYTES:
        raise SettingsError(f"{PREFIX}{name} holds a key shorter than {_SHORTEST_KEY_BYTES} bytes")
    if len(set(key)) < _FEWEST_DISTINCT_CHARACTERS:
        raise SettingsError(f"{PREFIX}{name} holds a key of a few repeated characters")


def _check_fernet_key(key: str) -> None:
    try:
        Fernet(key)
    except ValueError:
        raise SettingsError(
            f"{PREFIX}PLATFORM_ENCRYPTION_KEY is not a Fernet key (44 characters of base64url)"
        ) from None


def _check_cookie_name(text: str) -> None:
    name = f"{PREFIX}SESSION_COOKIE_NAME"
    if not _TOKEN.fullmatch(text):
        raise SettingsError(f"{name} may hold only letters, digits and -_.")
    if len(text) > _LONGEST_COOKIE_NAME:
        raise SettingsError(f"{name} has more than {_LONGEST_COOKIE_NAME} characters")
    if text.startswith("__"):
        raise SettingsError(f"{name} gets its prefix from {PREFIX}PUBLIC_URL")


def _check_public_url(text: str) -> None:
    origin = _ORIGIN.fullmatch(text)
    try:
        well_formed = origin is not None and _is_host(origin[1]) and urlsplit(text).port != 0
    except ValueError:
        well_formed = False
    if not well_formed:
        raise SettingsError(
            f"{PREFIX}PUBLIC_URL must be http:// or https:// and a host, without a path"
        )


def _is_host(host: str) -> bool:
    """Tell whether it is a name or an address; ValueError where it can't even be taken apart."""
    if host.startswith("["):
        return bool(IPv6Address(host[1:-1]))
    return _HOST.fullmatch(host.encode("idna").decode()) is not None


def _text(text: str) -> str:
    return text


def _url(text: str) -> str:
    return text.rstrip("/")


def _boolean(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("must be true or false")
    return text == "true"


def _digest(text: str) -> str:
    if text not in {"sha1", "sha256"}:
        raise ValueError("must be sha1 or sha256")
    return text


def _whole_number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("must be a whole number, 0 or more")
    return int(text)


def _seconds(text: str) -> timedelta:
    return timedelta(seconds=_whole_number(text))


def _some_seconds(text: str) -> timedelta:
    duration = _seconds(text)
    if not duration:
        raise ValueError("must be more than 0 seconds")
    return duration


def _days_of_retention(text: str) -> timedelta:
    days = _whole_number(text)
    if not 0 < days <= _LONGEST_RETENTION_DAYS:
        raise ValueError(f"must be 1 to {_LONGEST_RETENTION_DAYS} days")
    return timedelta(days=days)


def _json_list(text: str) -> tuple[str, ...]:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):  # ValueError of a number with thousands of digits, too
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError('must be a JSON list of strings, such as ["a", "b"]')
    return tuple(items)


def _encryption_keys(text: str) -> tuple[str, ...]:
    return _json_list(text) if text.lstrip().startswith("[") else (text,)


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(item) for item in _json_list(text))


# The setting's name without its prefix -> our attribute, and what reads the text or raises
# ValueError with the rest of a sentence that begins with the name.
_READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "SECRET_KEY": ("secret_key", _text),
    "SECRET_KEY_FALLBACKS": ("secret_key_fallbacks", _json_list),
    "DATABASE_URL": ("database_url", read_database_url),
    "PLATFORM_ENCRYPTION_KEY": ("platform_encryption_keys", _encryption_keys),
    "PUBLIC_URL": ("public_url", _url),
    "SESSION_COOKIE_NAME": ("session_cookie_name", _text),
    "SESSION_COOKIE_SECURE": ("session_cookie_secure", _boolean),
    "SESSION_DIGEST": ("session_digest", _digest),
    "SESSION_IDLE_SECONDS": ("session_idle", _some_seconds),
    "SESSION_ABSOLUTE_SECONDS": ("session_absolute", _some_seconds),
    "SESSION_REMEMBER_IDLE_SECONDS": ("session_remember_idle", _some_seconds),
    "SESSION_REMEMBER_ABSOLUTE_SECONDS": ("session_remember_absolute", _some_seconds),
    "SESSION_RENEWAL_SECONDS": ("session_renewal", _seconds),
    "REFUSE_AFTER_SECONDS": ("refuse_after", _some_seconds),
    "LOGIN_QUEUE_SECONDS": ("login_queue", _some_seconds),
    "FAILED_LOGIN_SECONDS": ("failed_login", _seconds),
    "AUDIT_RETENTION_DAYS": ("audit_retention", _days_of_retention),
    "TRUSTED_PROXIES": ("trusted_proxies", _whole_number),
    "ALLOWED_PRIVATE_NETWORKS": ("allowed_private_networks", _networks),
}
_NEEDED = ("SECRET_KEY", "PLATFORM_ENCRYPTION_KEY")
_SECRETS = {"SECRET_KEY", "SECRET_KEY_FALLBACKS", "DATABASE_URL", "PLATFORM_ENCRYPTION_KEY"}
