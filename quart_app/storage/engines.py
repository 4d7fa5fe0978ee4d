"""Engines: connections to SQLite and PostgreSQL, each prepared when it opens."""

import os
import sqlite3
from contextlib import suppress
from typing import Any

from sqlalchemy import URL, event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from quart_app.storage import postgresql
from quart_app.storage.sqlite import BUSY_TIMEOUT_SECONDS, begin_sqlite, open_sqlite

BEGIN_OPTION = "quart_app_begin"  # the execution option with SQLite's BEGIN statement
_POSTGRESQL_SETTINGS = {
    "lock_timeout": f"{BUSY_TIMEOUT_SECONDS}s",
    "statement_timeout": "15s",
    # A process that stops in the middle of a transaction blocks others only briefly.
    "idle_in_transaction_session_timeout": "15s",
}
# SQLAlchemy's defaults, named because metrics show their sum.
_KEPT_CONNECTIONS = 5
_MORE_CONNECTIONS = 10
MOST_CONNECTIONS = _KEPT_CONNECTIONS + _MORE_CONNECTIONS
_POOL: dict[str, Any] = {
    "pool_size": _KEPT_CONNECTIONS,
    "max_overflow": _MORE_CONNECTIONS,
    "pool_timeout": BUSY_TIMEOUT_SECONDS,
}


def engine_of(url: URL, *, create: bool, name: str) -> AsyncEngine:
    """Return an engine whose connections are prepared for our transactions."""
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(
            _opened_by_uri(url, create=create),
            **_POOL,
            # Every transaction ends before its connection returns. Another rollback then would be
            # one more call to the connection's thread.
            pool_reset_on_return=None,
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
    begin = connection.get_execution_options().get(BEGIN_OPTION, "BEGIN")
    begin_sqlite(connection, begin)
