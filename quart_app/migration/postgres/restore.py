"""The session table from a backup: made again, filled by COPY, and compared."""

import psycopg
from psycopg import sql

from quart_app.migration.outcome import Refused
from quart_app.migration.postgres.backup import (
    copy_out,
    differences,
    facts_of_sessions,
    run,
)
from quart_app.migration.postgres.connect import nothing_in_search_path
from quart_app.migration.postgres.definition import Definition
from quart_app.migration.progress import Reporter
from quart_app.migration.sealed_file import Advance, SealedFile

_BLOCK_BYTES = 1 << 18


def bring_back(connection: psycopg.Connection, backup: SealedFile, reporter: Reporter) -> list[str]:
    """Make the table again; return which keys are not checked for old rows, and why."""
    manifest = backup.manifest
    definition = Definition(**manifest["definition"])
    notes: list[str] = []
    connection.execute("SELECT set_config('client_encoding', %s, true)", [manifest["encoding"]])
    with nothing_in_search_path(connection):
        run(connection, definition.create)
        unchecked = _may_load_unchecked(connection)
        if unchecked:
            run(connection, definition.keys)
        with reporter.step("rows", total=manifest["rows"]) as step:
            _copy_in(connection, backup, step.advance)
        if unchecked:
            connection.execute("SET LOCAL session_replication_role = origin")
        with reporter.step("indexes, keys and triggers"):
            run(connection, definition.finish)
            if not unchecked:
                notes = [note for key in definition.keys if (note := _add_key(connection, key))]
            run(connection, definition.last)
    with reporter.step("comparing", total=manifest["rows"]) as step:
        different = compare(connection, backup, step.advance)
    if different and not notes:
        raise Refused(
            f"The table would not be what it was: {'; '.join(different)}. Nothing was restored."
        )
    return notes


def _may_load_unchecked(connection: psycopg.Connection) -> bool:
    """Switch the checking of keys off for the rows, which broke them before; if we may."""
    connection.execute("SAVEPOINT unchecked")
    try:
        connection.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        connection.execute("ROLLBACK TO SAVEPOINT unchecked")
        return False
    return True


def _copy_in(connection: psycopg.Connection, backup: SealedFile, advance: Advance) -> None:
    manifest = backup.manifest
    (table,) = manifest["facts"]["table"]
    query = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table["schema"], table["name"]),
        sql.SQL(", ").join(map(sql.Identifier, manifest["columns"])),
    )
    left = backup.payload_bytes
    with backup.path.open("rb") as file, connection.cursor().copy(query) as copy:
        while left and (block := file.read(min(_BLOCK_BYTES, left))):
            copy.write(block)
            left -= len(block)
            advance(block.count(b"\n"))


def _add_key(connection: psycopg.Connection, statement: str) -> str | None:
    """Add a key; where rows lead nowhere, for new rows only, and say so."""
    connection.execute("SAVEPOINT adding")
    try:
        connection.execute(statement.encode())
    except psycopg.errors.ForeignKeyViolation as error:
        connection.execute("ROLLBACK TO SAVEPOINT adding")
        not_valid = "" if statement.endswith(" NOT VALID") else " NOT VALID"
        connection.execute(f"{statement}{not_valid}".encode())
        return (
            f"The key {error.diag.constraint_name} is NOT VALID, which a superuser could have"
            f" avoided: {error.diag.message_detail}"
        )
    return None


def compare(connection: psycopg.Connection, backup: SealedFile, advance: Advance) -> list[str]:
    """Name what the table that stands there has not as the backup has it."""
    manifest = backup.manifest
    table = str(manifest["table"])
    facts = facts_of_sessions(connection, table)
    if different := differences(manifest["facts"], facts):
        return different
    digest = copy_out(connection, table, manifest["columns"], None, advance)
    return [] if digest.hexdigest() == manifest["rows_sha256"] else ["its rows"]
