"""Changes to aiosqlite: fewer calls to a connection's thread, and fair waiting for the lock."""

import asyncio
import contextvars
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Self, TypeVar, cast

import aiosqlite
from sqlalchemy.engine import Connection

BUSY_TIMEOUT_SECONDS = 5
BEGIN_TO_WRITE = "BEGIN IMMEDIATE"
# SQLite has no queue for its lock. By default it polls after 1, 2, 5 and finally every 100 ms,
# while a login holds the lock for 10 or 20 ms. With two processes that log users in, the lock would
# be unused most of the time.
_LOCK_POLL_SECONDS = 0.002

T = TypeVar("T")


async def open_sqlite(path: str, **options: Any) -> aiosqlite.Connection:
    """Open a connection. If that fails, wait until its thread has ended, then raise.

    aiosqlite's thread reports its end to the event loop. If a command exits because of the failure,
    the loop is closed by then, and the report would print an unrelated traceback.
    """
    connection = _Connection(lambda: _connect(path, **options), iter_chunk_size=1)
    connection.busy_timeout_seconds = options.setdefault("timeout", BUSY_TIMEOUT_SECONDS)
    thread = connection._thread  # noqa: SLF001 there is no other way to it; SQLAlchemy does so, too
    thread.daemon = True
    try:
        return await connection
    except BaseException:
        await asyncio.to_thread(thread.join)
        raise


def _connect(path: str, **options: Any) -> sqlite3.Connection:
    connection: sqlite3.Connection = sqlite3.connect(path, **options)
    # SQLite does not check encodings. Without this, a value that is not UTF-8 would fail every
    # query that reads it.
    connection.text_factory = _decoded
    return connection


def _decoded(value: bytes) -> str:
    return value.decode(errors="replace")


class _Connection(aiosqlite.Connection):
    # The BEGIN statement to run before the next statement; None if it has been run.
    begin_statement: str | None = None
    busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS

    def cursor(self) -> "_Cursor":  # type: ignore[override] # SQLAlchemy asks for no more than this
        return _Cursor(self)

    async def _execute(self, function: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Call a function in this connection's thread; at once where that is the current thread."""
        if threading.current_thread() is self._thread:
            return function(*args, **kwargs)
        return await super()._execute(function, *args, **kwargs)  # type: ignore[no-untyped-call]

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> "asyncio.Future[T]":
        """Run a coroutine in this connection's thread. It may await nothing but this connection.

        It takes one call to the thread, however many statements it executes.
        """
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((result, partial(contextvars.copy_context().run, _run, work)))
        return result


def _run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    coroutine = work()
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("A transaction in the database's thread awaited something else.")


class _Cursor:
    """The cursor that SQLAlchemy needs, with one call to the connection's thread per statement.

    aiosqlite's own cursor makes four calls: open, execute, fetch and close. Each call switches
    threads twice, which costs more than the statement.
    """

    arraysize = 1

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        await self._in_thread(lambda cursor: cursor.execute(statement, parameters))

    async def executemany(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        await self._in_thread(lambda cursor: cursor.executemany(statement, parameters))

    async def fetchall(self) -> list[Any]:
        """Return the rows, which `execute` fetched."""
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        """Do nothing: `execute` closed the cursor."""

    async def _in_thread(self, ask: Callable[[sqlite3.Cursor], Any]) -> None:
        connection = self._connection._conn  # noqa: SLF001

        def ask_all() -> tuple[list[Any], Any, int, int | None]:
            cursor = connection.cursor()
            try:
                if self._connection.begin_statement is not None:
                    patience = self._connection.busy_timeout_seconds
                    _begin(cursor, self._connection.begin_statement, patience)
                    # After a failed BEGIN, the next statement must try again.
                    self._connection.begin_statement = None
                ask(cursor)
                # Fetch all rows, as SQLAlchemy does: an open cursor would keep a lock.
                return cursor.fetchall(), cursor.description, cursor.rowcount, cursor.lastrowid
            finally:
                cursor.close()

        self._rows, self.description, self.rowcount, self.lastrowid = (
            await self._connection._execute(ask_all)  # noqa: SLF001
        )


def sqlite_connection(connection: Any) -> _Connection:
    """Return the connection that SQLAlchemy's open connection has taken from its pool."""
    return cast(_Connection, connection.connection.driver_connection)


def begin_sqlite(connection: Connection, statement: str) -> None:
    """Begin a transaction with `statement`, together with its first query."""
    sqlite_connection(connection).begin_statement = statement


def _begin(cursor: sqlite3.Cursor, statement: str, busy_timeout_seconds: float) -> None:
    """Begin a transaction; poll for the write lock more often than SQLite does."""
    if statement != BEGIN_TO_WRITE:
        cursor.execute(statement)
        return
    deadline = time.monotonic() + busy_timeout_seconds
    set_busy_timeout(cursor, 0)
    try:
        while True:
            try:
                cursor.execute(BEGIN_TO_WRITE)
            except sqlite3.OperationalError as error:
                if _is_locked(error) and time.monotonic() < deadline:
                    time.sleep(_LOCK_POLL_SECONDS)
                    continue
                raise
            return
    finally:
        set_busy_timeout(cursor, busy_timeout_seconds)


def _is_locked(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # without the extended code


def set_busy_timeout(cursor: Any, seconds: float) -> None:
    """Set how long a statement waits for a lock."""
    cursor.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
