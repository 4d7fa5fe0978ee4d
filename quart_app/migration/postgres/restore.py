"""The session table from a backup: recreated, filled by COPY, and compared."""

from typing import Any

import psycopg

from quart_app.migration.facts import SESSIONS
from quart_app.migration.outcome import Refused
from quart_app.migration.postgres.backup import copy_out, copy_query, facts_of_sessions
from quart_app.migration.postgres.catalog import Facts
from quart_app.migration.postgres.connect import search_path
from quart_app.migration.postgres.definition import Definition, definition_of, run
from quart_app.migration.postgres.rights import give_rights
from quart_app.migration.progress import Reporter
from quart_app.migration.sealed_file import Advance, SealedFile

_BLOCK_BYTES = 1 << 18
_NOT_VALID = " NOT VALID"
_AS_IT_WAS = "The database is unchanged."


def try_backup(connection: psycopg.Connection, backup: SealedFile, reporter: Reporter) -> None:
    """Recreate the table after its removal, compare, and undo that.

    It works as a restoration does, with the rows and the same search path. Raises Refused, which
    names what would be lost.
    """
    connection.execute("SAVEPOINT restorable")
    try:
        _bring_back(connection, backup, reporter, is_trial=True)
    except psycopg.Error as error:
        if error.sqlstate is None or error.sqlstate.startswith("57"):  # a server that stops
            raise
        said = " ".join(str(error).split())
        raise Refused(f"A backup can't restore {SESSIONS}: {said}. {_AS_IT_WAS}") from error
    except _Different as different:
        raise Refused(
            f"A backup can't restore these parts of {SESSIONS}: {different}. {_AS_IT_WAS}"
        ) from None
    connection.execute("ROLLBACK TO SAVEPOINT restorable")


def bring_back(connection: psycopg.Connection, backup: SealedFile, reporter: Reporter) -> list[str]:
    """Recreate the table; return which keys and checks hold for new rows only, and why."""
    try:
        return _bring_back(connection, backup, reporter, is_trial=False)
    except _Different as different:
        raise Refused(
            f"The restored table would differ from the original: {different}. Nothing was restored."
        ) from None


class _Different(Exception):  # noqa: N818 named for the fact
    """The recreated table differs from the removed one."""


def _bring_back(
    connection: psycopg.Connection, backup: SealedFile, reporter: Reporter, *, is_trial: bool
) -> list[str]:
    facts, definition = _checked(backup)
    trial = "trial: " if is_trial else ""
    notes: dict[str, str] = {}
    # Functions that rows, indexes and event triggers call may name things without a schema.
    with search_path(connection, backup.manifest["search_path"]):
        run(connection, definition.create)
        unchecked = _may_load_unchecked(connection)
        if unchecked:
            run(connection, definition.keys.values())
        with reporter.step(f"{trial}rows", total=backup.manifest["rows"]) as step:
            _copy_in(connection, backup, step.advance)
        if unchecked:
            connection.execute("SET LOCAL session_replication_role = origin")
        with reporter.step(f"{trial}indexes, keys and triggers"):
            if is_trial:
                run(connection, definition.checks.values())
            else:
                notes |= _added(connection, definition.checks)
            if not unchecked:
                notes |= _added(connection, definition.keys)
            run(connection, definition.finish)
            run(connection, definition.last)
            give_rights(connection, facts)
    with reporter.step(f"{trial}comparing", total=backup.manifest["rows"]) as step:
        different = compare(connection, backup, step.advance, not_valid=set(notes))
    if different:
        raise _Different("; ".join(different))
    return list(notes.values())


def _checked(backup: SealedFile) -> tuple[Facts, Definition]:
    """Return the table's facts and statements; raise Refused if the file has others."""
    facts = backup.manifest.get("facts")
    try:
        definition = definition_of(facts)  # type: ignore[arg-type] # whatever else it is, is caught
        assert isinstance(facts, dict)  # noqa: S101 definition_of has read it
        if {facts["table"][0]["name"], backup.manifest["table"]} != {SESSIONS}:
            raise ValueError  # noqa: TRY301 the reason is the one sentence below
    except (LookupError, TypeError, ValueError, AttributeError):
        raise Refused(
            f"The backup {backup.path} has no definition of the table. Nothing was restored."
        ) from None
    return facts, definition


def _may_load_unchecked(connection: psycopg.Connection) -> bool:
    """Switch off the checking of keys, if we may, for rows that broke them before."""
    connection.execute("SAVEPOINT unchecked")
    try:
        connection.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        connection.execute("ROLLBACK TO SAVEPOINT unchecked")
        return False
    return True


def _copy_in(connection: psycopg.Connection, backup: SealedFile, advance: Advance) -> None:
    manifest = backup.manifest
    query = copy_query(
        manifest["facts"], manifest["columns"], manifest["encoding"], direction="FROM STDIN"
    )
    left = backup.payload_bytes
    with backup.path.open("rb") as file, connection.cursor().copy(query) as copy:
        while left and (block := file.read(min(_BLOCK_BYTES, left))):
            copy.write(block)
            left -= len(block)
            advance(block.count(b"\n"))


def _added(connection: psycopg.Connection, constraints: dict[str, str]) -> dict[str, str]:
    """Add constraints; return why some hold for new rows only, by their names.

    Keys of rows may have no target. And a check whose function reads another table may find other
    rows there than when its row was written.
    """
    notes = {}
    for name, statement in constraints.items():
        connection.execute("SAVEPOINT adding")
        try:
            run(connection, [statement])
        except (psycopg.errors.ForeignKeyViolation, psycopg.errors.CheckViolation) as error:
            connection.execute("ROLLBACK TO SAVEPOINT adding")
            run(connection, [statement.removesuffix(_NOT_VALID) + _NOT_VALID])
            notes[name] = _note(name, error)
    return notes


def _note(name: str, error: psycopg.Error) -> str:
    if isinstance(error, psycopg.errors.CheckViolation):
        return f"The check {name} is NOT VALID: some rows no longer satisfy it."
    return (
        f"The key {name} is NOT VALID, which a superuser could have avoided:"
        f" {error.diag.message_detail}"
    )


def compare(
    connection: psycopg.Connection,
    backup: SealedFile,
    advance: Advance,
    *,
    not_valid: set[str] | None = None,
) -> list[str]:
    """Name the differences of the existing table from the backup, additions included."""
    manifest = backup.manifest
    wanted = _with_not_valid(manifest["facts"], not_valid or set())
    facts = facts_of_sessions(connection, SESSIONS)
    if different := differences(wanted, facts):
        return different
    query = copy_query(facts, manifest["columns"], manifest["encoding"], direction="TO STDOUT")
    digest = copy_out(connection, query, None, advance)
    return [] if digest.hexdigest() == manifest["rows_sha256"] else ["its rows"]


def _with_not_valid(facts: Facts, names: set[str]) -> Facts:
    constraints = [
        each
        | {
            "is_valid": False,
            "definition": each["definition"].removesuffix(_NOT_VALID) + _NOT_VALID,
        }
        if each["name"] in names
        else each
        for each in facts["constraints"]
    ]
    return facts | {"constraints": constraints}


def differences(before: Facts, after: Facts) -> list[str]:
    """Name the missing, different and additional parts."""
    found = {
        _named(what, each): None
        for what in before
        for each in before[what]
        if each not in after[what]
    }
    found |= {
        f"{name} (besides)": None
        for what in after
        for each in after[what]
        if each not in before[what] and (name := _named(what, each)) not in found
    }
    return list(found)


def _named(what: str, fact: dict[str, Any]) -> str:
    if what == "grants":
        return f"the privilege {fact['privilege']} of {fact['grantee'] or 'PUBLIC'}"
    return f"{what} {fact.get('name') or ''}".strip()
