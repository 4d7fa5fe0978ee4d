"""Engines and transactions: `begin()` for writing, `read()` for reading only."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import (
    DatabaseError,
    DBAPIError,
    DisconnectionError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool

from quart_app.errors import InvalidInput, Unavailable
from quart_app.storage import postgresql
from quart_app.storage.sqlite import (
    BEGIN_TO_WRITE,
    BUSY_TIMEOUT_SECONDS,
    begin_sqlite,
    open_sqlite,
)

_BEGIN = "quart_app_begin"  # the execution option with SQLite's BEGIN statement
# https://www.postgresql.org/docs/18/errcodes-appendix.html: read_only_sql_transaction (a standby),
# undefined_table, undefined_column
_UNAVAILABLE_STATES = {"25006", "42P01", "42703"}
_UNTRANSLATABLE_CHARACTER = "22P05"
_POSTGRESQL_SETTINGS = {
    "lock_timeout": f"{BUSY_TIMEOUT_SECONDS}s",
    "statement_timeout": "15s",
    # A process that stops in the middle of a transaction blocks others only briefly.
    "idle_in_transaction_session_timeout": "15s",
}


# SQLAlchemy's defaults, named because metrics show their sum.
_KEPT_CONNECTIONS = 5
_MORE_CONNECTIONS = 10
_MOST_CONNECTIONS = _KEPT_CONNECTIONS + _MORE_CONNECTIONS
_POOL: dict[str, Any] = {
    "pool_size": _KEPT_CONNECTIONS,
    "max_overflow": _MORE_CONNECTIONS,
    "pool_timeout": BUSY_TIMEOUT_SECONDS,
}


@dataclass(frozen=True)
class PoolUsage:
    """The connections of one pool: how many are in use, idle, and allowed at most."""

    in_use: int
    idle: int
    most: int


class Database:
    """A SQLite or PostgreSQL database, with two kinds of transaction.

    Both raise Unavailable, with nothing changed, if the database is locked, read-only, missing,
    full or stopped, or lacks our schema.
    """

    def __init__(self, url: URL, *, create: bool = False, name: str = "quart_app") -> None:
        """Connect to `url` at the first use. A missing SQLite file is created only with `create`.

        `name` is the application name on PostgreSQL, unless `url` sets one.
        """
        self.url = url
        self.engine = _engine(url, create=create, name=name)
        # On SQLite, a transaction that may write takes the write lock when it begins. With a plain
        # BEGIN, a write after a read fails at once if another writer came between (SQLITE_BUSY).
        is_sqlite = url.get_backend_name() == "sqlite"
        self._writing = self.engine.execution_options(
            **({_BEGIN: BEGIN_TO_WRITE} if is_sqlite else {})
        )
        self._turn_to_write = _turn_to_write(url)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that may write. It commits at the end, or rolls back on any error."""
        with _unavailable_where_the_database_fails():
            async with self._turn_to_write, _session(self._writing) as db, db.begin():
                yield db

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that only reads; on SQLite, from one snapshot."""
        with _unavailable_where_the_database_fails():
            async with _session(self.engine) as db, db.begin():
                yield db

    def pool_usage(self) -> PoolUsage | None:
        """Return the state of the connection pool; None if this database has no pool of a size."""
        pool = self.engine.pool
        if not isinstance(pool, QueuePool):
            return None
        return PoolUsage(in_use=pool.checkedout(), idle=pool.checkedin(), most=_MOST_CONNECTIONS)

    async def close(self) -> None:
        """Close every pooled connection."""
        await self.engine.dispose()


class _Locked(Exception):  # noqa: N818 named for the fact
    """Other writers of this process held the lock for the whole waiting time."""


class _TurnToWrite(AbstractAsyncContextManager[None]):
    """A fair lock: one writer of this process at a time, first come, first served.

    SQLite has no queue for its lock: each waiting writer polls, up to every 0.1 s, and a newcomer
    may get it first. Of many writers, some would time out although the lock is often free.
    Meanwhile they would occupy connections that readers need.
    """

    def __init__(self, patience_seconds: float) -> None:
        self._lock = asyncio.Lock()
        self._patience_seconds = patience_seconds

    async def __aenter__(self) -> None:
        try:
            async with asyncio.timeout(self._patience_seconds):
                await self._lock.acquire()
        except TimeoutError:
            raise _Locked from None

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


def _turn_to_write(url: URL) -> AbstractAsyncContextManager[None]:
    if url.get_backend_name() != "sqlite":
        return nullcontext()
    return _TurnToWrite(float(str(url.query.get("timeout", BUSY_TIMEOUT_SECONDS))))


def _session(engine: AsyncEngine) -> AsyncSession:
    return AsyncSession(engine, expire_on_commit=False)


class _unavailable_where_the_database_fails:  # noqa: N801 reads as what it does
    """Raise Unavailable for failures of the database; errors in our queries pass unchanged."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None and _is_failure_of_the_database(error):
            raise Unavailable from error
        if isinstance(error, DBAPIError) and _state_of(error) == _UNTRANSLATABLE_CHARACTER:
            raise InvalidInput("The database can't store one of these characters.") from error


def _state_of(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _is_failure_of_the_database(error: BaseException) -> bool:
    if isinstance(error, ProgrammingError | InternalError):
        return _state_of(error) in _UNAVAILABLE_STATES
    return (
        isinstance(error, OperationalError | InterfaceError | PoolTimeoutError | _Locked)
        or type(error) is DatabaseError  # "file is not a database", "disk image is malformed"
        or isinstance(error, ConnectionError)
    )


def _engine(url: URL, *, create: bool, name: str) -> AsyncEngine:
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(
            _opened_by_uri(url, create=create),
            **_POOL,
            hide_parameters=True,  # a logged error must contain no hash and no token
            connect_args={"async_creator_fn": open_sqlite},
        )
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "checkout", _reopen_replaced_file)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine
    return _postgresql_engine(url, name=name)


def _postgresql_engine(url: URL, *, name: str) -> AsyncEngine:
    engine = create_async_engine(
        postgresql.without_options(url),
        pool_pre_ping=True,  # notices a restarted server before a use case begins
        **_POOL,
        hide_parameters=True,
        isolation_level="AUTOCOMMIT",  # `begin` below starts transactions, not the driver
        connect_args=postgresql.connect_args(
            url,
            name=name,
            timeout_seconds=BUSY_TIMEOUT_SECONDS,
            # Notice a server that vanished silently, instead of waiting for it.
            tcp_user_timeout=BUSY_TIMEOUT_SECONDS * 1000,
        ),
    )
    settings = postgresql.set_local(postgresql.settings_of(url, _POSTGRESQL_SETTINGS))

    def begin(dbapi_connection: PoolProxiedConnection) -> None:
        """Begin a transaction and set its settings, in one message to the server."""
        cursor = dbapi_connection.cursor()
        cursor.execute(f"BEGIN; {settings}")
        cursor.close()

    # Not in the event "begin", where SQLAlchemy does not recognize a lost connection.
    engine.dialect.do_begin = begin  # type: ignore[method-assign]
    event.listen(
        engine.sync_engine, "connect", lambda connection, _: postgresql.prepare(connection)
    )
    return engine


def _opened_by_uri(url: URL, *, create: bool) -> URL:
    """Return a URL that opens an existing SQLite file, and creates one only with `create`.

    A misspelt path must not become an empty database. See https://www.sqlite.org/uri.html.
    """
    query = dict(url.query)
    query.setdefault("mode", "rwc" if create else "rw")
    query["uri"] = "true"
    path = (url.database or "").replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return url.set(database=f"file:{path}", query=query)


def _prepare_sqlite(connection: Any, entry: ConnectionPoolEntry) -> None:
    # None: _begin_sqlite begins transactions, not the driver, so that DDL rolls back, too.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    with suppress(sqlite3.OperationalError):  # a read-only file keeps its journal mode
        cursor.execute("PRAGMA journal_mode = WAL")  # readers and the writer don't wait
    cursor.execute("PRAGMA synchronous = NORMAL")  # with WAL, safe against a crash of the process
    cursor.execute("PRAGMA database_list")
    (_, _, path) = cursor.fetchone()
    cursor.close()
    entry.info["file"] = path, _file_identity(path)


def _reopen_replaced_file(_connection: Any, entry: ConnectionPoolEntry, _: object) -> None:
    """Reopen the database if its file was replaced, usually by a restored backup.

    SQLite would keep using the deleted file.
    """
    path, identity = entry.info["file"]
    if _file_identity(path) != identity:
        raise DisconnectionError


def _file_identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 creating a Path doubles the cost of this checkout
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _begin_sqlite(connection: Connection) -> None:
    begin = connection.get_execution_options().get(_BEGIN, "BEGIN")
    begin_sqlite(connection.connection.driver_connection, begin)
