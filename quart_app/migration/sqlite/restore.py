"""The session table from a backup: its definition, its rows with their ids, its indexes."""

import sqlite3
from contextlib import suppress

from quart_app.migration.outcome import Refused
from quart_app.migration.progress import Reporter
from quart_app.migration.sealed_file import Advance, SealedFile
from quart_app.migration.sqlite.connect import uri
from quart_app.migration.sqlite.contents import columns, contents
from quart_app.migration.sqlite.dependents import quoted

_ROWS_AT_ONCE = 20_000


def attachable(backup: SealedFile) -> str:
    """Return the URI by which the backup is attached; only outside of a transaction can it be."""
    return uri(backup.path.absolute(), "mode=ro&immutable=1")


def bring_back(connection: sqlite3.Connection, backup: SealedFile, reporter: Reporter) -> list[str]:
    """Make the table again from the database that is attached as `backup`."""
    name = backup.manifest["table"]
    statements = connection.execute(
        "SELECT type, sql FROM backup.sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL"
        " ORDER BY type = 'trigger', type = 'index', rowid",
        (name,),
    ).fetchall()
    (_, create), *others = statements
    # Rows that broke their table's rules before, break them again.
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute(create)
    with reporter.step("rows", total=backup.manifest["rows"]) as step:
        _copy_rows(connection, name, step.advance)
    with reporter.step("indexes and triggers"):
        for _, sql in others:
            connection.execute(sql)
        _copy_sequence(connection, name)
    if not is_same(connection, name, reporter):
        raise Refused(f"The table {name} would not be what the backup holds. Nothing was restored.")
    return _lost_users(connection, name)


def _writable(connection: sqlite3.Connection, table: str) -> list[str]:
    """Name the columns that can be written."""
    rows = connection.execute(
        "SELECT name FROM pragma_table_xinfo(?, 'backup') WHERE hidden = 0", (table,)
    )
    return [name for (name,) in rows]


def _row_id(connection: sqlite3.Connection, table: str) -> str | None:
    """Return the name by which a row's own number can be had; None in a table WITHOUT ROWID."""
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
    """Copy the rows with the numbers by which SQLite knows them, some at a time."""
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
    """Let AUTOINCREMENT go on where it stood."""
    with suppress(sqlite3.OperationalError):  # no table has it, or had it
        connection.execute("DELETE FROM main.sqlite_sequence WHERE name = ?", (table,))
        connection.execute(
            "INSERT INTO main.sqlite_sequence SELECT * FROM backup.sqlite_sequence WHERE name = ?",
            (table,),
        )


def is_same(connection: sqlite3.Connection, table: str, reporter: Reporter) -> bool:
    """Tell whether definition and rows are what they are in the backup, to the byte."""
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
    return [f"{lost:,} of the rows are of users who do not exist."] if lost else []
