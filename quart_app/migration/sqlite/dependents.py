"""Objects that would break without the session table; SQLite compiles them to find out."""

import re
import sqlite3

_KINDS = {
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_INSERT,
    sqlite3.SQLITE_UPDATE,
    sqlite3.SQLITE_DELETE,
}


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def dependents(connection: sqlite3.Connection, table: str) -> list[str]:
    """Name other tables' foreign keys to the table, and the views and triggers that use it."""
    return [
        *_foreign_keys(connection, table),
        *_virtual_tables(connection, table),
        *_views_and_triggers(connection, table),
    ]


def _foreign_keys(connection: sqlite3.Connection, table: str) -> list[str]:
    rows = connection.execute(
        'SELECT m.name, k."from" FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS k'
        " WHERE m.type = 'table'"
        ' AND lower(k."table") = lower(?) AND lower(m.name) <> lower(?)'
        " ORDER BY 1, 2",
        (table, table),
    )
    return [f"the table {name} by its foreign key on {column}" for name, column in rows]


def _virtual_tables(connection: sqlite3.Connection, table: str) -> list[str]:
    """Name the virtual tables that have the table as an argument, like content=TABLE."""
    argument = re.compile(rf"=\s*['\"`\[]*{re.escape(table)}['\"`\]]*\s*[,)]", re.IGNORECASE)
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL%' ORDER BY 1"
    )
    return [f"the virtual table {name}" for name, sql in rows if argument.search(sql)]


def _views_and_triggers(connection: sqlite3.Connection, table: str) -> list[str]:
    found = []
    # A user of the table must name it somewhere; SQLite then shows whether the table is meant.
    rows = connection.execute(
        "SELECT type, name, tbl_name FROM sqlite_master WHERE type IN ('view', 'trigger')"
        " AND instr(lower(sql), lower(?)) AND lower(tbl_name) <> lower(?) ORDER BY 1 DESC, 2",
        (table, table),
    ).fetchall()
    for kind, name, owner in rows:
        statements = (
            [f"SELECT * FROM {quoted(name)}"]
            if kind == "view"
            else _statements_that_fire(connection, owner)
        )
        if _use(connection, statements, table):
            found.append(f"the {kind} {name}" + (f" on {owner}" if kind == "trigger" else ""))
    return found


def _statements_that_fire(connection: sqlite3.Connection, table: str) -> list[str]:
    columns = connection.execute(
        "SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0", (table,)
    ).fetchall()
    every = ", ".join(f"{quoted(name)} = {quoted(name)}" for (name,) in columns)
    return [
        f"DELETE FROM {quoted(table)}",
        f"UPDATE {quoted(table)} SET {every}",
        f"INSERT INTO {quoted(table)} DEFAULT VALUES",
    ]


def _use(connection: sqlite3.Connection, statements: list[str], table: str) -> bool:
    """Return whether the compiled statements use the table; True if they don't compile.

    They are explained, not executed.
    """
    touched = False

    def note(kind: int, what: str | None, *_: str | None) -> int:
        nonlocal touched
        touched |= kind in _KINDS and what is not None and what.lower() == table.lower()
        return sqlite3.SQLITE_OK

    connection.set_authorizer(note)
    try:
        for statement in statements:
            connection.execute(f"EXPLAIN {statement}").close()
    except sqlite3.OperationalError:  # broken already; it names the table, so it may be meant
        return True
    finally:
        connection.set_authorizer(None)
    return touched
