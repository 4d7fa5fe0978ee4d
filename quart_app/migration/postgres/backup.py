"""A backup of the table: its rows by COPY, and the statements that recreate it."""

import hashlib
from pathlib import Path
from typing import Any, BinaryIO, Literal

import psycopg
from psycopg import sql

from quart_app.migration.facts import Backup, SessionTable
from quart_app.migration.files import new_file
from quart_app.migration.outcome import Failed
from quart_app.migration.postgres.catalog import Facts, facts_of
from quart_app.migration.postgres.connect import nothing_in_search_path
from quart_app.migration.postgres.inspection import relation
from quart_app.migration.progress import Reporter
from quart_app.migration.sealed_file import Advance, read_claims, seal, verify

_ROWS_AT_ONCE = 2000


def facts_of_sessions(connection: psycopg.Connection, table: str) -> Facts:
    """Return what the catalog says about the table, every name in it with its schema."""
    found = relation(connection, table)
    if found is None:
        raise Failed(f"The table {table} no longer exists.")
    with nothing_in_search_path(connection):
        return facts_of(connection, found[0])


def back_up(
    connection: psycopg.Connection,
    table: SessionTable,
    path: Path,
    manifest: dict[str, Any],
    reporter: Reporter,
) -> Backup:
    """Write, seal and sync the backup; then read it again and count its rows."""
    facts = facts_of_sessions(connection, table.name)
    stored = [each["name"] for each in facts["columns"] if not each["generated"]]
    encoding, path_now = _encoding_and_search_path(connection)
    with new_file(path) as partial:
        with partial.open("r+b") as file:
            with reporter.step("backup", total=manifest["rows"]) as step:
                query = copy_query(facts, stored, encoding, direction="TO STDOUT")
                digest = copy_out(connection, query, file, step.advance)
            manifest |= {
                "columns": stored,
                "rows_sha256": digest.hexdigest(),
                "encoding": encoding,
                "search_path": path_now,
                "facts": facts,
            }
            with reporter.step("sealing the backup"):
                sha256 = seal(file, manifest, digest)
                size = file.tell()
        with reporter.step("checking the backup", total=manifest["rows"]) as step:
            # One line per row: a line end inside a value is written as two characters.
            verify(read_claims(partial), lambda block: step.advance(block.count(b"\n")))
            rows = step.done - 1  # the manifest's own line
    return Backup(path, rows, size, sha256)


def _encoding_and_search_path(connection: psycopg.Connection) -> tuple[str, list[str]]:
    row = connection.execute(
        "SELECT current_setting('server_encoding'), current_schemas(false)::text[]"
    ).fetchone()
    assert row is not None  # noqa: S101 a SELECT without FROM
    return row


def copy_query(
    facts: Facts,
    columns: list[str],
    encoding: str,
    *,
    direction: Literal["TO STDOUT", "FROM STDIN"],
) -> sql.Composed:
    """Return a COPY of the rows, whose direction is `TO STDOUT` or `FROM STDIN`.

    It uses the encoding of the backed-up database, so that the bytes are the stored ones.
    """
    (table,) = facts["table"]
    return sql.SQL("COPY {} ({}) {} (ENCODING {})").format(
        sql.Identifier(table["schema"], table["name"]),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(direction),
        sql.Literal(encoding),
    )


def copy_out(
    connection: psycopg.Connection, query: sql.Composed, file: BinaryIO | None, advance: Advance
) -> "hashlib._Hash":
    """Write the rows in COPY's text format; return their SHA-256. Without a file, only hash."""
    digest = hashlib.sha256()
    some: list[bytes | bytearray | memoryview] = []

    def write() -> None:
        block = b"".join(some)
        digest.update(block)
        if file is not None:
            file.write(block)
        advance(len(some))
        some.clear()

    with connection.cursor().copy(query) as copy:
        for row in copy:
            some.append(row)
            if len(some) == _ROWS_AT_ONCE:
                write()
    write()
    return digest
