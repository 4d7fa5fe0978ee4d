"""Errors of databases and disks as outcomes, with one sentence each."""

import errno
import sqlite3

from sqlalchemy.exc import DBAPIError

from quart_app.errors import AppError
from quart_app.migration.outcome import Busy, Failed, Interrupted, MigrationStopped, Refused
from quart_app.storage.schema import SchemaRefused
from quart_app.storage.sqlite import BUSY_TIMEOUT_SECONDS

AS_IT_WAS = "The database is unchanged."
_BUSY = (
    f"The database is busy: a lock was not free within {BUSY_TIMEOUT_SECONDS} seconds. Is the older"
    " application, or another migration, still running?"
)
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PRIMARY = 0xFF
# https://www.sqlite.org/rescode.html
_OF_SQLITE: dict[int, tuple[type[MigrationStopped], str]] = {
    5: (Busy, _BUSY),  # SQLITE_BUSY
    6: (Busy, _BUSY),  # SQLITE_LOCKED
    8: (Refused, "The database or its folder is read-only."),  # SQLITE_READONLY
    776: (  # SQLITE_READONLY_ROLLBACK
        Refused,
        (
            "A crash left the database in the middle of a transaction. Open it with write access"
            " first, which rolls the -journal file back: for example, `sqlite3 FILE .tables`."
        ),
    ),
    9: (Interrupted, "Interrupted."),  # SQLITE_INTERRUPT
    10: (Failed, "Reading or writing the disk failed: {}."),  # SQLITE_IOERR
    11: (Refused, "The database is damaged: {}."),  # SQLITE_CORRUPT
    13: (Failed, "The disk is full."),  # SQLITE_FULL
    14: (Refused, "The database file can't be opened: {}."),  # SQLITE_CANTOPEN
    26: (Refused, "The file is not a SQLite database."),  # SQLITE_NOTADB
}
# https://www.postgresql.org/docs/18/errcodes-appendix.html
_OF_POSTGRESQL: dict[str, tuple[type[MigrationStopped], str]] = {
    "40001": (Busy, _BUSY),  # serialization_failure
    "40P01": (Busy, _BUSY),  # deadlock_detected
    "55P03": (Busy, _BUSY),  # lock_not_available
    "57014": (Interrupted, "Interrupted: {}."),  # query_canceled
    "42501": (Refused, "PostgreSQL denies access: {}."),  # insufficient_privilege
    "25006": (Refused, "The database is read-only: {}."),  # read_only_sql_transaction
    "2BP01": (Refused, "Other objects depend on the table: {}."),  # dependent_objects_still_exist
}


def as_migration_stopped(error: BaseException) -> MigrationStopped | None:
    """Return the outcome that an error means; None for a bug of ours."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    match error:
        case MigrationStopped():
            return error
        case SchemaRefused():
            return Refused(error.sentence)
        case AppError():
            return Failed(error.sentence)
        case sqlite3.Error():
            return _of_sqlite(error)
        case OSError():
            return _of_system(error)
    # psycopg's have it, which need not be installed
    return _of_postgresql(error) if hasattr(error, "sqlstate") else None


def _of_system(error: OSError) -> MigrationStopped:
    where = f" ({error.filename})" if error.filename else ""
    what = "The disk is full" if error.errno in _DISK_FULL else error.strerror or str(error)
    return Failed(f"{what}{where}. {AS_IT_WAS}")


def _of_sqlite(error: sqlite3.Error) -> MigrationStopped:
    code = getattr(error, "sqlite_errorcode", 0)
    kind, sentence = _OF_SQLITE.get(
        code, _OF_SQLITE.get(code & _PRIMARY, (Failed, "SQLite reports an error: {}."))
    )
    return kind(f"{sentence.format(error)} {AS_IT_WAS}")


def _of_postgresql(error: BaseException) -> MigrationStopped:
    state = getattr(error, "sqlstate", None) or ""
    said = " ".join(str(error).split())
    if not state:
        return Failed(f"The database can't be reached: {said}. Nothing was committed.")
    kind, sentence = _OF_POSTGRESQL.get(state, (Failed, "PostgreSQL reports an error: {}."))
    return kind(f"{sentence.format(said)} {AS_IT_WAS}")
