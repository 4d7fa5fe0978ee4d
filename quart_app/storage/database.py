"""Transactions: `begin()` for writing, `read()` for reading only."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import URL
from sqlalchemy.exc import (
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
)
from sqlalchemy.pool import QueuePool

from quart_app.errors import InvalidInput, Unavailable
from quart_app.storage.engines import BEGIN_OPTION, MOST_CONNECTIONS, engine_of
from quart_app.storage.sqlite import (
    BEGIN_TO_WRITE,
    BUSY_TIMEOUT_SECONDS,
    sqlite_connection,
)

# https://www.postgresql.org/docs/18/errcodes-appendix.html: read_only_sql_transaction (a standby),
# undefined_table, undefined_column
_UNAVAILABLE_STATES = {"25006", "42P01", "42703"}
_UNTRANSLATABLE_CHARACTER = "22P05"

T = TypeVar("T")


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
        self.engine = engine_of(url, create=create, name=name)
        # On SQLite, a transaction that may write takes the write lock when it begins. With a plain
        # BEGIN, a write after a read fails at once if another writer came between (SQLITE_BUSY).
        is_sqlite = url.get_backend_name() == "sqlite"
        self._writing = self.engine.execution_options(
            **({BEGIN_OPTION: BEGIN_TO_WRITE} if is_sqlite else {})
        )
        self._turn_to_write = _turn_to_write(url)
        self._is_sqlite = is_sqlite

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that may write. It commits at the end, or rolls back on any error."""
        with _unavailable_where_the_database_fails():
            async with self._turn_to_write, _session(self._writing) as db, db.begin():
                yield db

    async def run_in_transaction(self, work: Callable[[AsyncSession], Coroutine[Any, Any, T]]) -> T:
        """Do what `begin` does, with a function instead of a block, and return its result.

        On SQLite, all of the function runs in the connection's thread, in one call: going there
        and back for each statement takes longer than the statement. So the function may await only
        its database, and must not change what the event loop's other tasks read.
        """
        if not self._is_sqlite:
            async with self.begin() as db:
                return await work(db)
        with _unavailable_where_the_database_fails():
            async with self._turn_to_write:
                return await _run_in_thread(await self._writing.connect(), work)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that only reads; on SQLite, from one snapshot."""
        with _unavailable_where_the_database_fails():
            async with _session(self.engine) as db, db.begin():
                yield db

    async def run_in_snapshot(self, work: Callable[[AsyncSession], Coroutine[Any, Any, T]]) -> T:
        """Do what `read` does, with a function: as `run_in_transaction`, in one call on SQLite."""
        if not self._is_sqlite:
            async with self.read() as db:
                return await work(db)
        with _unavailable_where_the_database_fails():
            return await _run_in_thread(await self.engine.connect(), work)

    def pool_usage(self) -> PoolUsage | None:
        """Return the state of the connection pool; None if this database has no pool of a size."""
        pool = self.engine.pool
        if not isinstance(pool, QueuePool):
            return None
        return PoolUsage(in_use=pool.checkedout(), idle=pool.checkedin(), most=MOST_CONNECTIONS)

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


def _session(bind: AsyncEngine | AsyncConnection) -> AsyncSession:
    return AsyncSession(bind, expire_on_commit=False)


async def _run_in_thread(
    connection: AsyncConnection, work: Callable[[AsyncSession], Coroutine[Any, Any, T]]
) -> T:
    """Run a transaction in the thread of a SQLite connection; roll back if we are cancelled."""
    is_cancelled = False

    async def transaction() -> T:
        db = _session(connection)
        try:
            async with db.begin():
                result = await work(db)
                if is_cancelled:
                    raise asyncio.CancelledError
                return result
        finally:
            await db.close()

    running: asyncio.Future[T] = sqlite_connection(connection.sync_connection).run(transaction)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        is_cancelled = True
        await asyncio.wait([running])  # until then, the thread uses the connection
        raise
    finally:
        await connection.close()


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
