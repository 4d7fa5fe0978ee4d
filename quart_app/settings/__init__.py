"""Settings, one frozen value; `Settings.from_environ()` is the only reader of the environment."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from sqlalchemy.engine import URL, make_url

from quart_app.settings.checks import (
    check_cookie_name,
    check_fernet_key,
    check_guarded_path,
    check_key,
    check_listen_url,
    check_public_url,
)
from quart_app.settings.database_url import read_database_url
from quart_app.settings.errors import PREFIX, SettingsError
from quart_app.settings.readers import READERS
from quart_app.settings.sources import (
    SECRET_FILES,
    SECRETS_FILE,
    given_settings,
    read_secret_files,
)
from quart_app.settings.suggestions import settings_like

__all__ = [
    "PREFIX",
    "SECRETS_FILE",
    "Settings",
    "SettingsError",
    "database_url_from_environ",
    "missing_secrets",
    "read_database_url",
    "with_setting",
]

_NEEDED = ("SECRET_KEY", "PLATFORM_ENCRYPTION_KEY")
_DEFAULT_DATABASE_URL = "sqlite+aiosqlite:///instance/quart_app.db"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that an operator can configure. The constructor checks it.

    `platform_encryption_keys` and the session's keys are newest first. The newest key encrypts or
    signs; every key decrypts or verifies. Raises SettingsError.
    """

    secret_key: str = field(repr=False)
    secret_key_fallbacks: tuple[str, ...] = field(default=(), repr=False)
    platform_encryption_keys: tuple[str, ...] = field(repr=False)
    # A password may be among its options, which URL's own repr shows.
    database_url: URL = field(default_factory=lambda: make_url(_DEFAULT_DATABASE_URL), repr=False)
    # The same database without a pooler between, for LISTEN; None: database_url is direct.
    database_listen_url: URL | None = field(default=None, repr=False)
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
    logins_per_user_per_hour: int = 1000
    audit_retention: timedelta = timedelta(days=365)
    platforms_per_user: int = 200
    trusted_proxies: int = 0
    # Where other applications are behind this login: a login may lead back there.
    guarded_paths: tuple[str, ...] = ()
    log_format: Literal["text", "json"] = "text"
    metrics: Literal["off", "loopback", "on"] = "loopback"  # who may read /metrics
    # Where requests to other servers may go, beside public addresses at port 443. The ports are
    # for tests and private servers: they are open in these networks only.
    allowed_private_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    allowed_private_ports: tuple[range, ...] = ()
    extra_ca_file: Path | None = None

    def __post_init__(self) -> None:
        """Refuse weak or contradictory settings. Raises SettingsError."""
        check_key("SECRET_KEY", self.secret_key)
        for key in self.secret_key_fallbacks:
            check_key("SECRET_KEY_FALLBACKS", key)
        if not self.platform_encryption_keys:
            raise SettingsError(f"{PREFIX}PLATFORM_ENCRYPTION_KEY has no key")
        for key in self.platform_encryption_keys:
            check_fernet_key(key)
        check_public_url(self.public_url)
        for path in self.guarded_paths:
            check_guarded_path(path, root_path=self.root_path)
        if self.database_listen_url is not None:
            check_listen_url(self.database_url, self.database_listen_url)
        check_cookie_name(self.session_cookie_name)
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
                limit = name.replace("IDLE", "ABSOLUTE")
                raise SettingsError(f"{PREFIX}{name} must not be longer than {PREFIX}{limit}")
            if self.session_renewal >= idle:
                raise SettingsError(
                    f"{PREFIX}SESSION_RENEWAL_SECONDS must be shorter than {PREFIX}{name}"
                )

    @property
    def is_https(self) -> bool:
        """Whether users reach this site over HTTPS."""
        return urlsplit(self.public_url).scheme == "https"

    @property
    def root_path(self) -> str:
        """The path of the public URL, below which everything is served; empty if it has none."""
        return urlsplit(self.public_url).path.rstrip("/")

    @property
    def cookie_secure(self) -> bool:
        """Whether cookies have the attribute Secure."""
        return self.is_https if self.session_cookie_secure is None else self.session_cookie_secure

    @property
    def cookie_name(self) -> str:
        """The session cookie's name on the wire; over https it has a prefix (RFC 6265bis).

        `__Host-` binds it to this host and demands the path `/`, so it can't have a root path.
        """
        if not self.is_https:
            return self.session_cookie_name
        prefix = "__Secure-" if self.root_path else "__Host-"
        return f"{prefix}{self.session_cookie_name}"

    @property
    def cookie_path(self) -> str:
        """The cookies' attribute Path."""
        return self.root_path or "/"

    @property
    def session_keys(self) -> tuple[str, ...]:
        """The session keys: the first signs sessions, and all of them verify sessions."""
        return (self.secret_key, *self.secret_key_fallbacks)

    @classmethod
    def from_environ(
        cls, environ: Mapping[str, str] | None = None, *, directory: Path = Path()
    ) -> "Settings":
        """Read the environment, and `.env` and `instance/.env` in `directory`.

        Raises SettingsError. Its message is one line for the operator and names the setting.
        """
        given = given_settings(environ, directory)
        read_secret_files(given, directory)
        for name in given:
            if name not in READERS:
                shown = name if name.isprintable() else name.encode("unicode_escape").decode()
                raise SettingsError(f"{PREFIX}{shown} is not a setting{_did_you_mean(name)}")
        for name in _NEEDED:
            if name not in given:
                raise SettingsError(
                    f"{PREFIX}{name} is missing."
                    " `.venv/bin/python -m quart_app keys new` generates one"
                )
        values: dict[str, Any] = {}
        for name, text in given.items():
            attribute, read = READERS[name]
            try:
                values[attribute] = read(text)
            except ValueError as error:
                raise SettingsError(f"{PREFIX}{name} {error}") from None
        return cls(**values)


def missing_secrets(
    environ: Mapping[str, str] | None = None, *, directory: Path = Path()
) -> list[str]:
    """Return the environment names of required secrets that are not set yet.

    Raises SettingsError if a file can't be read.
    """
    given = given_settings(environ, directory)
    return [f"{PREFIX}{name}" for name in _NEEDED if not {name, f"{name}_FILE"} & given.keys()]


def database_url_from_environ(
    environ: Mapping[str, str] | None = None, *, directory: Path = Path()
) -> URL:
    """Read only the database URL, as Settings.from_environ does, for commands that need no keys.

    Raises SettingsError.
    """
    given = given_settings(environ, directory)
    read_secret_files(given, directory)
    try:
        return read_database_url(given.get("DATABASE_URL", _DEFAULT_DATABASE_URL))
    except ValueError as error:
        raise SettingsError(f"{PREFIX}DATABASE_URL {error}") from None


def with_setting(settings: Settings, **changes: Any) -> Settings:
    """Return the same settings with `changes`, checked again."""
    return dataclasses.replace(settings, **changes)


def _did_you_mean(name: str) -> str:
    likely = settings_like(name, {*READERS, *SECRET_FILES})
    return f"; did you mean {' or '.join(f'{PREFIX}{each}' for each in likely)}?" if likely else ""
