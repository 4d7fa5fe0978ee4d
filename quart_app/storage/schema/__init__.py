"""The schema's revisions, and upgrades to the newest one (Alembic).

The version table has its own name, because the older application's `alembic_version` may be in the
same database, and we never change it. Alembic is imported only for an upgrade, because a process
that serves needs nothing but the names of the revisions.
"""

import os
import sqlite3
from contextlib import suppress
from functools import cache
from pathlib import Path

from sqlalchemy import URL, Column, Connection, MetaData, String, Table, func, inspect, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from quart_app.errors import AppError, Unavailable
from quart_app.storage.database import Database
from quart_app.storage.locks import AdvisoryLock

# An upgrade waits this long for its lock. Another upgrade holds it, or a program that writes.
WAIT_FOR_LOCK_SECONDS = 60
VERSION_TABLE = "quart_app_version"
_REVISION_COLUMN = Column("version_num", String)
_VERSIONS = Table(VERSION_TABLE, MetaData(), _REVISION_COLUMN)
_REVISIONS = Path(__file__).parent / "revisions"
_SQLITE_ERROR = 1  # https://www.sqlite.org/rescode.html: the statement does not fit this database
_LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's, after lock_timeout
# https://www.postgresql.org/docs/18/errcodes-appendix.html: feature not supported, data exception,
# constraint violation, dependent objects, access rules and names, PL/pgSQL
_REFUSING_CLASSES = {"0A", "22", "23", "2B", "42", "P0"}


class SchemaRefused(AppError):  # noqa: N818 named for the fact
    """The database can't be upgraded and was not changed; the sentence says why."""

    code = "schema_refused"


async def upgrade_schema(url: URL, *, own_folder: Path | None = None) -> tuple[str | None, str]:
    """Create, adopt or upgrade the schema; return the revisions before and after.

    All of it is one transaction. A missing SQLite file is created; its folder only if that is
    `own_folder`. Concurrent upgrades take turns: each waits WAIT_FOR_LOCK_SECONDS at most, which is
    longer than other transactions wait. Raises SchemaRefused or Unavailable, with nothing changed.
    """
    made = _make_file_of(url, own_folder)
    try:
        return await _upgrade_and_close(Database(_with_long_wait(url), create=True))
    except Exception:
        if made is not None:
            _remove_if_empty(made)
        raise


async def _upgrade_and_close(database: Database) -> tuple[str | None, str]:
    try:
        async with database.begin() as db:
            if database.url.get_backend_name() == "postgresql":
                await db.execute(text(f"SET LOCAL lock_timeout = '{WAIT_FOR_LOCK_SECONDS}s'"))
                await db.execute(text("SET LOCAL statement_timeout = 0"))  # an index takes its time
            return await (await db.connection()).run_sync(upgrade_within)
    except Unavailable as error:
        if _is_lock_of_others(error.__cause__):
            raise SchemaRefused(
                f"The database could not be upgraded, because another program has held its lock"
                f" for {WAIT_FOR_LOCK_SECONDS} seconds. Nothing was changed. Stop that program, or"
                " wait for its end, and try again."
            ) from error
        raise
    finally:
        await database.close()


def _with_long_wait(url: URL) -> URL:
    """Return the URL of a SQLite file with a longer busy timeout, unless it has one."""
    if url.get_backend_name() != "sqlite" or "timeout" in url.query:
        return url
    return url.update_query_dict({"timeout": str(WAIT_FOR_LOCK_SECONDS)})


def _is_lock_of_others(error: BaseException | None) -> bool:
    """Return whether a statement did not get its lock in time."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(cause, sqlite3.Error):
        return cause.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
    return getattr(cause, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def upgrade_within(connection: Connection, *, to: str = "head") -> tuple[str | None, str]:
    """Upgrade in the caller's transaction; return the revision before, and the newest one.

    Raises SchemaRefused; the caller must then roll back.
    """
    try:
        return _upgrade(connection, to)
    except DBAPIError as error:
        if not _is_refusal(error):
            raise
        said = next(iter(str(error.orig).splitlines()), "")
        raise SchemaRefused(
            f"The database can't be upgraded: {said}. Nothing was changed."
        ) from error


def makes_a_new_file(url: URL) -> bool:
    """Return whether upgrade_schema will create a SQLite file."""
    path = _file_of(url)
    return path is not None and not os.path.exists(path)  # noqa: PTH110 False where it can't be read


async def schema_revision(database: Database) -> str | None:
    """Return the database's revision; None if it was never upgraded here.

    Takes no lock. Raises Unavailable.
    """
    async with database.read() as db:
        return await (await db.connection()).run_sync(revision_of)


def newest_revision() -> str:
    """Return the revision that this code needs."""
    revisions = known_revisions()
    if not revisions:
        raise SchemaRefused("This installation lacks the schema's revisions.")
    return max(revisions)


@cache
def known_revisions() -> frozenset[str]:
    """Return the names of all revisions, which their files begin with.

    They are read once per process.
    """
    names = (path.name.partition("_")[0] for path in _REVISIONS.glob("*_*.py"))
    return frozenset(name for name in names if name.isdigit())


def revision_of(connection: Connection) -> str | None:
    """Return the database's revision; None if it was never upgraded here."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    heads = connection.scalars(select(_REVISION_COLUMN)).all()
    if len(heads) > 1:
        raise SchemaRefused(
            f"The table {VERSION_TABLE} must have one row, and has {len(heads)}:"
            " put a backup in its place."
        )
    return heads[0] if heads else None


def _is_refusal(error: DBAPIError) -> bool:
    """Return whether a trigger, a missing privilege or a constraint refused the statement."""
    if isinstance(error.orig, sqlite3.Error):
        return isinstance(error, IntegrityError) or error.orig.sqlite_errorcode == _SQLITE_ERROR
    state = getattr(error.orig, "sqlstate", None) or ""
    return state[:2] in _REFUSING_CLASSES


def _upgrade(connection: Connection, to: str) -> tuple[str | None, str]:
    if connection.dialect.name == "postgresql":  # one at a time, until the transaction ends
        connection.execute(select(func.pg_advisory_xact_lock(int(AdvisoryLock.UPGRADE_SCHEMA))))
    before, newest = revision_of(connection), newest_revision()
    refuse_unknown_revision(before)
    _run_revisions(connection, to)
    return before, newest


def _run_revisions(connection: Connection, to: str) -> None:
    # Alembic takes a third of the time that a process needs to start.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_REVISIONS.parent).replace("%", "%%"))
    config.set_main_option("version_locations", str(_REVISIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def refuse_unknown_revision(revision: str | None) -> None:
    """Raise SchemaRefused for a database that newer code has upgraded."""
    if revision is not None and revision not in known_revisions():
        raise SchemaRefused(
            f"The database is at revision {revision}, which is newer than this code:"
            " update the code."
        )


def is_usable(revision: str | None) -> bool:
    """Return whether this code works with a database at this revision.

    A revision that this code does not know is newer. Each revision leaves the schema usable for the
    code before it (docs/decisions/0040-rolling-upgrades.md).
    """
    return revision is not None and (
        revision == newest_revision() or revision not in known_revisions()
    )


def _file_of(url: URL) -> Path | None:
    """Return the path of a SQLite database; None for PostgreSQL."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def _make_file_of(url: URL, own_folder: Path | None) -> Path | None:
    """Create a missing SQLite file and return its path; None if there is nothing to create.

    Only its owner can read it, because it will have password hashes. Raises SchemaRefused.
    """
    path = _file_of(url)
    if path is None:
        return None
    try:
        if own_folder is not None and path.parent.resolve() == own_folder.resolve():
            path.parent.mkdir(exist_ok=True, mode=0o700)
        elif not path.parent.exists():  # a mistyped path must not become an empty database
            raise SchemaRefused(
                f"There is no folder {path.parent} for the database file {path}."
                " Create it, or correct QUART_APP_DATABASE_URL."
            )
        if path.exists():
            if not path.is_file():
                raise SchemaRefused(f"{path} is not a file: correct QUART_APP_DATABASE_URL.")
            return None
        if url.query.get("mode", "rwc") != "rwc" or url.query.get("immutable") == "1":
            raise SchemaRefused(
                f"There is no database file {path}, and an option in QUART_APP_DATABASE_URL (mode"
                " or immutable) prevents creating one."
            )
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:  # another process was faster
            return None
    except OSError as error:
        raise SchemaRefused(
            f"The database file {path} can't be created: {error.strerror}."
            " Check QUART_APP_DATABASE_URL."
        ) from error
    return path


def _remove_if_empty(path: Path) -> None:
    """Remove the empty file of a failed upgrade, so that it is not mistaken for a database."""
    with suppress(OSError):
        others = [path.with_name(f"{path.name}-{suffix}") for suffix in ("journal", "wal")]
        if path.stat().st_size == 0 and not any(other.exists() for other in others):
            path.unlink()
