"""The schema's revisions (Alembic) and how they are carried out.

The version table has a name of its own: the older application's `alembic_version` may stand
beside it and is not ours to touch.
"""

import os
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, text

from quart_app.errors import AppError
from quart_app.storage.database import Database

VERSION_TABLE = "quart_app_version"


class SchemaRefused(AppError):  # noqa: N818 named for the fact
    """The database can't be upgraded, and was left as it is; the sentence says why."""

    code = "schema_refused"


async def upgrade_schema(url: URL) -> tuple[str | None, str]:
    """Make or adopt the database in one transaction; return its revisions before and after.

    Two that start at once take turns. Raises SchemaRefused or Unavailable, with nothing changed.
    """
    _make_folder_of(url)
    database = Database(url, create=True)
    try:
        async with database.begin() as db:
            connection = await db.connection()
            return await connection.run_sync(_upgrade)
    finally:
        await database.close()


async def schema_revision(database: Database) -> str | None:
    """Return the revision that the database is at; None where we never touched it.

    Raises Unavailable for a database that can only be read, too; nothing is written to find out.
    """
    async with database.begin() as db:
        connection = await db.connection()
        revision = await connection.run_sync(_revision)
        if revision is not None:
            await db.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '' WHERE false"))
        return revision


def newest_revision() -> str:
    """Return the revision that this code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:  # an installation without its revisions
        raise SchemaRefused("This installation lacks the schema's revisions.")
    return head


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option(
        "version_locations", str(Path(__file__).parent / "revisions").replace("%", "%%")
    )
    config.set_main_option("path_separator", "newline")
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    if connection.dialect.name == "postgresql":
        # One at a time; released with the transaction. The number is ours, chosen at random.
        connection.execute(text("SELECT pg_advisory_xact_lock(7225838017654201)"))
    before, newest = _revision(connection), newest_revision()
    if before is not None and before not in _known_revisions():
        raise SchemaRefused(
            f"The database is at revision {before}, which is newer than this code: update the code."
        )
    command.upgrade(_config(connection), "head")
    return before, newest


def _known_revisions() -> set[str]:
    scripts = ScriptDirectory.from_config(_config())
    return {script.revision for script in scripts.walk_revisions()}


def _make_folder_of(url: URL) -> None:
    """Make the folder for a SQLite file, and the file itself for our eyes only: it holds hashes."""
    if url.get_backend_name() != "sqlite" or (url.database or "").startswith("file:"):
        return
    path = Path(url.database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise SchemaRefused(f"The database file {path} can't be made: {error.strerror}.") from error
