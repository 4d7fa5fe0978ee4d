"""The database's URL: the plain forms, and what each engine takes behind its ?."""

import re
from urllib.parse import unquote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from quart_app.storage.postgresql import settings_of

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_LARGEST_PORT = 65535
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
_NOT_TAKEN = "has, after its ?, what this database does not take"


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
    settings_of(url, {})


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
