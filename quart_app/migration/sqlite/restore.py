"""The session table from a backup: its definition, its rows with their ids, its indexes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from quart_app.migration.facts import SESSIONS
from quart_app.migration.outcome import Refused
from quart_app.migration.progress import Reporter
from quart_app.migration.sealed_file import Advance, SealedFile
from quart_app.migration.sqlite.connect import open_sqlite, uri
from quart_app.migration.sqlite.dependents import quoted
from quart_app.migration.sqlite.inspection import columns, contents

_ROWS_AT_ONCE = 20_000
_MAKING = {
    sqlite3.SQLITE_CREATE_TABLE,
    sqlite3.SQLITE_CREATE_INDEX,
    sqlite3.SQLITE_CREATE_TRIGGER,
}
# The actions they need: the schema's rows, the table's own columns and functions over them.
_NEEDED = {sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_REINDEX}
_BOOKKEEPING = {"sqlite_master", "sqlite_schema", "sqlite_sequence"}
# SQLITE_ERROR, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_AUTH: https://www.sqlite.org/rescode.html
_OF_STATEMENTS = {1, 19, 20, 23}
_PRIMARY = 0xFF


def attachable(backup: SealedFile) -> str:
    """Return the URI that attaches the backup, which works only outside a transaction."""
    return uri(backup.path.absolute(), "mode=ro&immutable=1")


def try_backup(path: str, name: str, reporter: Reporter) -> None:
    """Recreate the table from its backup, rows included, in a separate database.

    Raises Refused if the result differs from the original.
    """
    with (
        closing(open_sqlite("")) as connection,  # a file without a name, gone when it is closed
        reporter.interruption.canceling(connection.interrupt),
    ):
        connection.execute("ATTACH ? AS backup", (path,))
        connection.execute("BEGIN")
        try:
            same = _make(connection, name, reporter, trial="trial: ")
        except sqlite3.Error as error:
            if error.sqlite_errorcode & _PRIMARY not in _OF_STATEMENTS:
                raise
            raise Refused(
                f"A backup can't restore {name}: {error}. The database is unchanged."
            ) from error
        if not same:
            raise Refused(
                f"A restored {name} would differ from the original. The database is unchanged."
            )


def bring_back(connection: sqlite3.Connection, backup: SealedFile, reporter: Reporter) -> list[str]:
    """Recreate the table from the database that is attached as `backup`."""
    name = backup.manifest["table"]
    if not _make(connection, name, reporter):
        raise Refused(
            f"The restored table {name} would differ from the backup. Nothing was restored."
        )
    return _lost_users(connection, name)


def _make(
    connection: sqlite3.Connection, name: str, reporter: Reporter, *, trial: str = ""
) -> bool:
    """Make the table with its rows and its own parts; return whether it equals the backup."""
    statements = connection.execute(
        "SELECT type, sql FROM backup.sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL"
        " ORDER BY type = 'trigger', type = 'index', rowid",
        (name,),
    ).fetchall()
    if name.lower() != SESSIONS or not statements:
        raise Refused(f"The backup has no table {SESSIONS}. Nothing was restored.")
    (_, create), *others = statements
    # Rows that broke their table's rules before break them again.
    connection.execute("PRAGMA ignore_check_constraints = ON")
    with only_making_the_table(connection):
        connection.execute(create)
    with reporter.step(f"{trial}rows", unit="rows") as step:
        _copy_rows(connection, name, step.advance)
    with reporter.step(f"{trial}indexes and triggers"):
        with only_making_the_table(connection):
            for _, sql in others:
                connection.execute(sql)
        _copy_sequence(connection, name)
    return is_same(connection, name, reporter)


@contextmanager
def only_making_the_table(connection: sqlite3.Connection) -> Iterator[None]:
    """Let statements of the backup make the table, its indexes and triggers, and nothing else."""

    def authorize(action: int, name: str | None, table: str | None, *_: str | None) -> int:
        if action in _MAKING:
            context_fields = name if action == sqlite3.SQLITE_CREATE_TABLE else table
            # SQLite itself makes sqlite_sequence for the first AUTOINCREMENT.
            allowed = (context_fields or "").lower() in {SESSIONS, "sqlite_sequence"}
        else:
            allowed = action in _NEEDED or (name or "").lower() in _BOOKKEEPING
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    connection.set_authorizer(authorize)
    try:
        yield
    finally:
        connection.set_authorizer(None)


def _writable(connection: sqlite3.Connection, table: str) -> list[str]:
    """Name the columns that can be written."""
    rows = connection.execute(
        "SELECT name FROM pragma_table_xinfo(?, 'backup') WHERE hidden = 0", (table,)
    )
    return [name for (name,) in rows]


def _row_id(connection: sqlite3.Connection, table: str) -> str | None:
    """Return a column name for the row's rowid; None in a table WITHOUT ROWID."""
    taken = {
        name.lower()
        for (name,) in connection.execute(
            "SELECT name FROM pragma_table_xinfo(?, 'backup')", (table,)
        )
    }
    for name in ("rowid", "_rowid_", "oid"):
        if name not in taken:
            with suppress(sqlite3.OperationalError):
                connection.execute(f"SELECT {name} FROM backup.{quoted(table)} LIMIT 0")
                return name
    return None


def _copy_rows(connection: sqlite3.Connection, table: str, advance: Advance) -> None:
    """Copy the rows with their rowids, in batches."""
    names = ", ".join(map(quoted, _writable(connection, table)))
    name, row_id = quoted(table), _row_id(connection, table)
    if row_id is None:
        insert = f"INSERT INTO main.{name} ({names}) SELECT {names} FROM backup.{name}"
        advance(connection.execute(insert).rowcount)
        return
    names = f"{row_id}, {names}"
    low = connection.execute(f"SELECT min({row_id}) FROM backup.{name}").fetchone()[0]
    while low is not None:
        (high,) = connection.execute(
            f"SELECT max({row_id}) FROM (SELECT {row_id} FROM backup.{name}"
            f" WHERE {row_id} >= ? ORDER BY {row_id} LIMIT {_ROWS_AT_ONCE})",
            (low,),
        ).fetchone()
        copied = connection.execute(
            f"INSERT INTO main.{name} ({names}) SELECT {names} FROM backup.{name}"
            f" WHERE {row_id} BETWEEN ? AND ? ORDER BY {row_id}",
            (low, high),
        )
        advance(copied.rowcount)
        (low,) = connection.execute(
            f"SELECT min({row_id}) FROM backup.{name} WHERE {row_id} > ?", (high,)
        ).fetchone()


def _copy_sequence(connection: sqlite3.Connection, table: str) -> None:
    """Let AUTOINCREMENT continue from its old value."""
    with suppress(sqlite3.OperationalError):  # no table has it, or had it
        connection.execute("DELETE FROM main.sqlite_sequence WHERE name = ?", (table,))
        connection.execute(
            "INSERT INTO main.sqlite_sequence SELECT * FROM backup.sqlite_sequence WHERE name = ?",
            (table,),
        )


def is_same(connection: sqlite3.Connection, table: str, reporter: Reporter) -> bool:
    """Return whether definition and rows equal the backup's, to the byte."""
    query = (
        "SELECT type, name, sql FROM {}.sqlite_master WHERE tbl_name = ? AND name NOT LIKE"
        " 'sqlite\\_%' ESCAPE '\\' ORDER BY 1, 2"
    )
    here, there = (
        connection.execute(query.format(schema), (table,)).fetchall()
        for schema in ("main", "backup")
    )
    if here != there:
        return False
    row_id = _row_id(connection, table)
    names = [*([row_id] if row_id else []), *columns(connection, table)]
    with reporter.step("comparing") as step:
        ours, theirs = (
            contents(connection, table, names, step.advance, schema=schema)
            for schema in ("main", "backup")
        )
    return ours == theirs


def _lost_users(connection: sqlite3.Connection, table: str) -> list[str]:
    (lost,) = connection.execute(
        f"SELECT count(*) FROM main.{quoted(table)} AS s"
        " WHERE NOT EXISTS (SELECT 1 FROM main.users AS u WHERE u.id = s.user_id)"
    ).fetchone()
    return [f"Rows whose user does not exist: {lost:,}"] if lost else []
