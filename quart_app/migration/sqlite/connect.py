"""Connections to a SQLite file: some leave it unchanged, and one changes it."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.pool import NullPool

from quart_app.migration.interruption import Interruption
from quart_app.migration.outcome import Refused
from quart_app.storage.sqlite import BUSY_TIMEOUT_SECONDS

# https://www.sqlite.org/fileformat2.html#file_format_version_numbers: 2 is WAL
_FORMAT_VERSIONS = slice(18, 20)
_WAL = b"\x02\x02"
SUFFIXES = ("", "-journal", "-wal", "-shm")  # of the database's own files
_TURN_MILLISECONDS = 100


def file_of(url: URL) -> Path:
    """Return the database's file; raises Refused if there is no file."""
    path = Path(url.database or "").absolute()
    if not path.exists():
        raise Refused(f"The database file does not exist: {path}.")
    if not path.is_file():
        raise Refused(f"{path} is not a regular file.")
    return path


def wal_bytes(path: Path) -> int:
    """Return the size of the write-ahead log; a killed or running process left it."""
    wal = path.resolve().with_name(f"{path.resolve().name}-wal")
    return wal.stat().st_size if wal.exists() else 0


def uri(path: Path, query: str) -> str:
    """Return the URI that opens a file in SQLite, whatever its name."""
    return f"file:{quote(str(path).encode(errors='surrogateescape'))}?{query}"


def uri_for_reading(path: Path) -> str:
    """Return a URI for reading that leaves the file's bytes and its folder unchanged.

    If the file is in WAL mode and has no log, an ordinary reader would make one. This reads the
    file, which no connection of this process may have open: closing it releases their locks
    (https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
    """
    try:
        with path.open("rb") as file:
            is_wal = file.read(_FORMAT_VERSIONS.stop)[_FORMAT_VERSIONS] == _WAL
    except OSError as error:
        raise Refused(f"The database file {path} can't be read: {error.strerror}.") from error
    return uri(path, "mode=ro&immutable=1" if is_wal and not wal_bytes(path) else "mode=ro")


def open_sqlite(address: str) -> sqlite3.Connection:
    """Open by URI; the driver begins no transaction, so that DDL rolls back."""
    connection = sqlite3.connect(
        address,
        uri=True,
        isolation_level=None,
        timeout=BUSY_TIMEOUT_SECONDS,
        check_same_thread=False,  # the event loop's thread interrupts it
    )
    # Bytes in text that are not UTF-8 are no reason to stop.
    connection.text_factory = lambda text: text.decode(errors="replace")
    return connection


def raw(connection: Connection) -> sqlite3.Connection:
    """Return the driver's own connection."""
    driver_connection = connection.connection.driver_connection
    assert isinstance(driver_connection, sqlite3.Connection)  # noqa: S101 of our own engine
    return driver_connection


@contextmanager
def canceling(connection: Connection, interruption: Interruption) -> Iterator[None]:
    """Let an interruption end the running statement, but not the rollback."""
    with interruption.canceling(raw(connection).interrupt):
        try:
            yield
        except BaseException:
            interruption.disarm()
            raise


def _begin(connection: sqlite3.Connection, begin: str, interruption: Interruption) -> None:
    """Begin, and wait for the lock in short turns: SQLite's own wait ignores interruptions."""
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    connection.execute(f"PRAGMA busy_timeout = {_TURN_MILLISECONDS}")
    while True:
        try:
            connection.execute(begin)
        except sqlite3.OperationalError as error:
            interruption.check()
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
        else:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")
            return


@contextmanager
def connected(
    address: str, begin: str, interruption: Interruption, *, attach: str | None = None
) -> Iterator[Connection]:
    """Give a connection in a transaction that the statement `begin` began."""

    def create() -> sqlite3.Connection:
        connection = open_sqlite(address)
        # On, as in other upgrades of the schema. A restoration also restores rows without a user.
        connection.execute(f"PRAGMA foreign_keys = {'OFF' if attach else 'ON'}")
        if attach is not None:  # not possible once the transaction has begun
            connection.execute("ATTACH ? AS backup", (attach,))
        return connection

    engine = create_engine("sqlite://", creator=create, poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "begin", lambda connection: _begin(raw(connection), begin, interruption))
    try:
        with engine.connect() as connection, canceling(connection, interruption):
            connection.begin()
            yield connection
    finally:
        engine.dispose()


@contextmanager
def guarded(
    path: Path, interruption: Interruption, *, attach: str | None
) -> Iterator[tuple[Connection, sqlite3.Connection]]:
    """Give the connection that holds the write lock, and one that reads the same state.

    In WAL mode the last connection to close writes the log into the file. If nothing was committed
    and there was a log before, the reader closes last. It can't write, so the file is unchanged.
    """
    log = wal_bytes(path)
    with closing(open_sqlite(uri(path, "mode=ro"))) as reader:
        reader.execute("SELECT 1 FROM sqlite_master").fetchone()
        with interruption.canceling(reader.interrupt):
            address = uri(path, "mode=rw")
            with connected(address, "BEGIN IMMEDIATE", interruption, attach=attach) as connection:
                try:
                    yield connection, reader
                finally:
                    if not connection.in_transaction() or not log:
                        reader.close()
