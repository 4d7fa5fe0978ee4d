"""Inspection of a database: tables, checksums of their rows, and definitions."""

import hashlib
import marshal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from quart_app.migration.facts import SESSIONS, Contents, SessionTable
from quart_app.migration.sealed_file import Advance
from quart_app.migration.sqlite.dependents import dependents, quoted

_ROWS_AT_ONCE = 5000
_PRIMARY = 0xFF  # the bits of an error's primary code; the other bits have details
# Without the references that later versions write between equal values of a row.
_MARSHAL_VERSION = 2


def tables(connection: sqlite3.Connection) -> list[str]:
    """Name the tables; for a virtual table, the tables that store its contents."""
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%'"
        " ESCAPE '\\' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    )
    return [name for (name,) in rows]


def columns(connection: sqlite3.Connection, table: str) -> list[str]:
    """Name the columns, generated ones included."""
    rows = connection.execute("SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1", (table,))
    return [name for (name,) in rows]


def session_table(connection: sqlite3.Connection) -> SessionTable | None:
    """Describe the table user_sessions, in upper or lower case."""
    found = connection.execute(
        "SELECT name, type, sql LIKE 'CREATE VIRTUAL%' FROM sqlite_master"
        " WHERE lower(name) = ? AND type IN ('table', 'view')",
        (SESSIONS,),
    ).fetchone()
    if found is None:
        return None
    name, kind, is_virtual = found
    own = connection.execute(
        "SELECT type || ' ' || name FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL"
        " AND type IN ('index', 'trigger') ORDER BY 1",
        (name,),
    )
    return SessionTable(
        name=name,
        kind="virtual table" if is_virtual else kind,
        columns=tuple(column.lower() for column in columns(connection, name)),
        goes_with_it=tuple(what for (what,) in own),
        dependents=tuple(dependents(connection, name)) if kind == "table" else (),
    )


def unknown_here(connection: sqlite3.Connection) -> str | None:
    """Name what SQLite lacks to check the database; statements are only compiled."""
    try:
        connection.execute("EXPLAIN PRAGMA integrity_check").close()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_ERROR:
            raise
        return str(error)
    return None


def size_bytes(connection: sqlite3.Connection, table: str) -> int | None:
    """Return the size of a table with its indexes; None if SQLite was built without dbstat."""
    try:
        (size,) = connection.execute(
            "SELECT sum(pgsize) FROM sqlite_master AS m JOIN dbstat AS d ON d.name = m.name"
            " WHERE m.tbl_name = ? AND m.rootpage > 0 AND d.aggregate = TRUE",
            (table,),
        ).fetchone()
    except sqlite3.OperationalError:
        return None
    return size or 0


def database_bytes(connection: sqlite3.Connection) -> int:
    """Return the size of the whole database."""
    (size,) = connection.execute(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    ).fetchone()
    return int(size)


@contextmanager
def _bytes_as_they_are(connection: sqlite3.Connection) -> Iterator[None]:
    """Read text as its bytes, which need not be UTF-8."""
    factory: Callable[[bytes], Any] = connection.text_factory
    connection.text_factory = bytes
    try:
        yield
    finally:
        connection.text_factory = factory


def contents(
    connection: sqlite3.Connection,
    table: str,
    names: Sequence[str],
    advance: Advance,
    *,
    schema: str = "main",
) -> Contents:
    """Return the SHA-256 of the rows in the table's own order.

    It covers each row's values and their types, as Python's marshal writes them. NOT INDEXED,
    because an index with every column has its own order.
    """
    digest, rows = hashlib.sha256(), 0
    types = " || ' ' || ".join(f"typeof({quoted(name)})" for name in names)
    with _bytes_as_they_are(connection):
        cursor = connection.execute(
            f"SELECT {types}, {', '.join(map(quoted, names))}"
            f" FROM {schema}.{quoted(table)} NOT INDEXED"
        )
        while some := cursor.fetchmany(_ROWS_AT_ONCE):
            for row in some:
                digest.update(marshal.dumps(row, _MARSHAL_VERSION))
            rows += len(some)
            advance(len(some))
    return Contents(rows, digest.hexdigest())


def definitions(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """Return every CREATE statement, by its table and by what it creates."""
    rows = connection.execute(
        "SELECT tbl_name, type || ' ' || name, coalesce(sql, '') FROM sqlite_master"
    )
    return {(table, what): sql for table, what, sql in rows}


def broken_foreign_keys(connection: sqlite3.Connection) -> Counter[str]:
    """Count by table the rows that refer to nothing; the session table is left out."""
    broken: Counter[str] = Counter()
    for table in tables(connection):
        if table.lower() == SESSIONS:
            continue
        with suppress(sqlite3.OperationalError):  # a key that SQLite can't follow at all
            for _ in connection.execute(f"PRAGMA foreign_key_check({quoted(table)})"):
                broken[table] += 1
    return broken
