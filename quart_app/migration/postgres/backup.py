"""A backup of the table: its rows by COPY, and the statements that make it again."""

import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import psycopg
from psycopg import sql

from quart_app.migration.facts import Backup, SessionTable
from quart_app.migration.files import new_file
from quart_app.migration.outcome import Failed, Refused
from quart_app.migration.postgres.catalog import Facts, facts_of
from quart_app.migration.postgres.connect import nothing_in_search_path
from quart_app.migration.postgres.definition import definition_of
from quart_app.migration.postgres.look import relation
from quart_app.migration.progress import Reporter
from quart_app.migration.sealed_file import Advance, open_sealed, seal

_ROWS_AT_ONCE = 2000


def facts_of_sessions(connection: psycopg.Connection, table: str) -> Facts:
    """Return what the catalog says about the table, every name in it with its schema."""
    found = relation(connection, table)
    if found is None:
        raise Failed(f"The table {table} is gone.")
    with nothing_in_search_path(connection):
        return facts_of(connection, found[0])


def back_up(
    connection: psycopg.Connection,
    table: SessionTable,
    path: Path,
    manifest: dict[str, Any],
    reporter: Reporter,
) -> Backup:
    """Write, seal and sync it; then read it again and count."""
    facts = facts_of_sessions(connection, table.name)
    stored = [each["name"] for each in facts["columns"] if not each["generated"]]
    encoding = connection.execute("SHOW client_encoding").fetchone()
    with new_file(path) as partial:
        with partial.open("r+b") as file:
            with reporter.step("backup", total=manifest["rows"]) as step:
                digest = copy_out(connection, table.name, stored, file, step.advance)
            manifest |= {
                "columns": stored,
                "rows_sha256": digest.hexdigest(),
                "encoding": encoding and encoding[0],
                "definition": dataclasses.asdict(definition_of(facts)),
                "facts": facts,
            }
            with reporter.step("sealing the backup"):
                sha256 = seal(file, manifest, digest)
                size = file.tell()
        with reporter.step("checking the backup", total=manifest["rows"]) as step:
            # A line a row: a line end inside of a value is written in two characters.
            open_sealed(partial, lambda block: step.advance(block.count(b"\n")))
            rows = step.done - 1  # the manifest's own line
    return Backup(path, rows, size, sha256)


def copy_out(
    connection: psycopg.Connection,
    table: str,
    columns: list[str],
    file: BinaryIO | None,
    advance: Advance,
) -> "hashlib._Hash":
    """Write the rows in COPY's text format, and return their SHA-256; without a file only that."""
    query = sql.SQL("COPY {} ({}) TO STDOUT").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
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


def refuse_what_could_not_be_made_again(
    connection: psycopg.Connection, table: str, facts: Facts
) -> None:
    """Make the table again, now that it is gone, compare, and take it back.

    Raises Refused with the name of what would be lost.
    """
    connection.execute("SAVEPOINT restorable")
    try:
        made = definition_of(facts)
        with nothing_in_search_path(connection):
            run(connection, [*made.create, *made.keys, *made.finish, *made.last])
        different = differences(facts, facts_of_sessions(connection, table))
    except psycopg.Error as error:
        if error.sqlstate is None or error.sqlstate.startswith("57"):  # a server that stops
            raise
        said = " ".join(str(error).split())
        raise Refused(
            f"A backup could not bring {table} back: {said}. The database is as it was."
        ) from error
    connection.execute("ROLLBACK TO SAVEPOINT restorable")
    if different:
        raise Refused(
            f"A backup could not bring back of {table}: {'; '.join(different)}."
            " The database is as it was."
        )


def run(connection: psycopg.Connection, statements: Iterable[str]) -> None:
    """Run statements, which hold their values."""
    for statement in statements:
        connection.execute(statement.encode())


def differences(before: Facts, after: Facts) -> list[str]:
    """Name what is not the same."""
    return [
        f"{what} {each.get('name') or each.get('privilege') or ''}".strip()
        for what in before
        for each in before[what]
        if each not in after[what]
    ]
