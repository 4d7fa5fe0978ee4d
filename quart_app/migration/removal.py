"""Adopt the schema, remove the session table and verify the rest, in one transaction."""

import secrets
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from quart_app.migration.carry_over import carry_over_active_platforms
from quart_app.migration.engine import Engine
from quart_app.migration.facts import Backup, Contents, DatabaseState, Removal, SessionTable
from quart_app.migration.failures import AS_IT_WAS
from quart_app.migration.inspection import inspect
from quart_app.migration.outcome import Failed, OutcomeUnknown, Refused
from quart_app.migration.progress import Reporter
from quart_app.migration.record import ID_LENGTH, RECORD_TABLE, write_down
from quart_app.migration.sealed_file import read_claims
from quart_app.model import Base
from quart_app.storage.schema import VERSION_TABLE, upgrade_within
from quart_app.storage.schema.legacy_refusals import (
    RefusedUsers,
    deactivate_refused,
    reactivate_refused,
    refused_users,
)

_SHARED = {"users", "platform_connections"}  # the older application's, adopted as ours
_OURS = (set(Base.metadata.tables) - _SHARED) | {
    VERSION_TABLE,
    RECORD_TABLE,
    "platform_connection_ids",  # SQLite's only: see the schema's second revision
}
_OUR_COLUMNS = {
    *("default_platform_connection_id", "session_epoch", "must_change_password"),
    *("device_epoch", "reset_token_hash", "reset_expires_at"),
    *("legacy_refusal", "legacy_password_hash", "username_key", "email_key"),
}


@dataclass
class Removed:
    """The changes that a removal made, or would have made."""

    state: DatabaseState
    id: str = field(default_factory=lambda: secrets.token_hex(ID_LENGTH // 2))
    revision: str | None = None
    backup: Backup | None = None
    rows: int = 0
    defaults_changed: int | None = None
    refused: RefusedUsers = field(default_factory=RefusedUsers)
    before: dict[str, Contents] = field(default_factory=dict)
    after: dict[str, Contents] = field(default_factory=dict)
    locks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Before:
    """The state that must be the same afterwards."""

    columns: dict[str, list[str]]
    contents: dict[str, Contents]
    definitions: dict[tuple[str, str], str]
    broken_keys: Counter[str]


def remove_session_table(
    engine: Engine,
    reporter: Reporter,
    *,
    backup: Path | None,
    carry_over: bool,
    commit: bool = True,
) -> Removed:
    """Do all of it in one transaction; an unneeded backup is deleted again.

    `Removed.state.is_pending` is False if another run was first and there was nothing to do.
    Raises Refused, Busy, Failed or Interrupted, with nothing changed.
    """
    with ExitStack() as stack:
        with reporter.step("waiting for the database"):
            connection = stack.enter_context(engine.writing())
        removed = Removed(inspect(engine, connection))
        if removed.state.refusal is not None:
            raise Refused(removed.state.refusal)
        if not removed.state.is_pending:
            return removed
        # Before the table is dropped: its lock would no longer have a name.
        locks = [] if commit else engine.locks(connection)
        try:
            _change(engine, connection, reporter, removed, backup=backup, carry_over=carry_over)
            if commit:
                _commit(engine, connection, removed)
            else:
                removed.locks = sorted({*locks, *engine.locks(connection)})
        except BaseException as error:
            engine.interruption.disarm()
            if removed.backup is not None and not isinstance(error, OutcomeUnknown):
                removed.backup.path.unlink(missing_ok=True)
            raise
        return removed


def _commit(engine: Engine, connection: Connection, removed: Removed) -> None:
    _refuse_lost_backup(removed)
    kept = f". The backup {removed.backup.path} is kept" if removed.backup else ""
    engine.commit(connection, to_find_out=f"run --check to find out whether it succeeded{kept}")


def _refuse_lost_backup(removed: Removed) -> None:
    if removed.backup is not None and not removed.backup.is_there:
        raise Failed(f"The backup {removed.backup.path} was moved or deleted. {AS_IT_WAS}")


def _change(
    engine: Engine,
    connection: Connection,
    reporter: Reporter,
    removed: Removed,
    *,
    backup: Path | None,
    carry_over: bool,
) -> None:
    sessions = removed.state.sessions
    if sessions is not None:
        removed.rows = _count(connection, sessions)
        if backup is not None:
            removed.backup = _back_up(
                engine, connection, reporter, removed, sessions=sessions, path=backup
            )
    before = _look_before(engine, connection, reporter, sessions)
    with reporter.step("adopting the schema"):
        removed.revision = upgrade_within(connection)[1]
        # Also if the schema was adopted before, and the table restored since.
        deactivate_refused(connection)
        removed.refused = refused_users(connection)
    if sessions is not None:
        if carry_over:
            with reporter.step("carrying over active platforms", unit="users") as step:
                removed.defaults_changed = carry_over_active_platforms(engine, connection, sessions)
                step.advance(removed.defaults_changed)
        with reporter.step(f"removing {sessions.name}") as step:
            engine.remove(connection, sessions)
            step.advance(removed.rows)
        if removed.backup is not None:
            _refuse_lost_backup(removed)
            engine.try_backup(connection, read_claims(removed.backup.path), reporter)
        _write_down(connection, removed)
    removed.before = before.contents
    removed.after = _prove(engine, connection, reporter, sessions, before)


def _write_down(connection: Connection, removed: Removed) -> None:
    backup = removed.backup
    write_down(
        connection,
        Removal(
            removed.id,
            datetime.now(UTC),
            removed.rows,
            None if backup is None else str(backup.path),
            None,
            None if backup is None else backup.sha256,
            None if backup is None else backup.size_bytes,
        ),
    )


def _count(connection: Connection, table: SessionTable) -> int:
    quoted = connection.dialect.identifier_preparer.quote_identifier(table.name)
    rows: int = connection.exec_driver_sql(f"SELECT count(*) FROM {quoted}").scalar_one()
    return rows


def _back_up(
    engine: Engine,
    connection: Connection,
    reporter: Reporter,
    removed: Removed,
    *,
    sessions: SessionTable,
    path: Path,
) -> Backup:
    """Write the backup, and raise Failed if it lacks a row."""
    manifest = {
        "removal": removed.id,
        "engine": engine.name,
        "database": engine.display_url,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "table": sessions.name,
        "rows": removed.rows,
    }
    backup = engine.back_up(connection, sessions, path, manifest, reporter)
    if backup.rows != removed.rows:
        backup.path.unlink()
        raise Failed(
            f"The backup has {backup.rows:,} rows, but the table has {removed.rows:,}. {AS_IT_WAS}"
        )
    return backup


def _look_before(
    engine: Engine, connection: Connection, reporter: Reporter, sessions: SessionTable | None
) -> _Before:
    gone = set() if sessions is None else {sessions.name}
    columns = {
        table: [
            column
            for column in engine.columns(connection, table)
            if table not in _SHARED or column not in _OUR_COLUMNS
        ]
        for table in engine.tables(connection)
        if table not in _OURS | gone
    }
    definitions = {
        (table, what): definition
        for (table, what), definition in engine.definitions(connection).items()
        if table not in _SHARED | _OURS | gone
    }
    return _Before(
        columns,
        _contents(engine, connection, reporter, columns, "checksums before"),
        definitions,
        engine.broken_foreign_keys(connection),
    )


def _contents(
    engine: Engine,
    connection: Connection,
    reporter: Reporter,
    columns: dict[str, list[str]],
    title: str,
) -> dict[str, Contents]:
    with reporter.step(title) as step, connection.begin_nested() as savepoint:
        # As after a restoration, which gives is_active its old values back.
        reactivate_refused(connection)
        contents = {
            table: engine.contents(connection, table, names, step.advance)
            for table, names in columns.items()
        }
        savepoint.rollback()
        return contents


def _prove(
    engine: Engine,
    connection: Connection,
    reporter: Reporter,
    sessions: SessionTable | None,
    before: _Before,
) -> dict[str, Contents]:
    """Return the contents afterwards; raise Failed if anything changed."""
    with reporter.step("checking foreign keys"):
        broken = engine.broken_foreign_keys(connection) - before.broken_keys
    if broken:
        tables = ", ".join(sorted(broken))
        raise Failed(f"Foreign keys of {tables} would refer to missing rows. {AS_IT_WAS}")
    contents = _contents(engine, connection, reporter, before.columns, "checksums after")
    changed = [table for table in contents if contents[table] != before.contents[table]]
    if changed:
        raise Failed(
            f"Rows of {', '.join(changed)} would have been changed. {AS_IT_WAS}"
            f"{engine.why_rows_change(connection)}"
        )
    after = engine.definitions(connection)
    changed = [
        what
        for (table, what), definition in before.definitions.items()
        if after.get((table, what)) != definition
    ]
    if changed:
        raise Failed(f"The definition of {', '.join(changed)} would have changed. {AS_IT_WAS}")
    if sessions is not None and engine.session_table(connection) is not None:
        raise Failed(f"{sessions.name} is still there after its removal. {AS_IT_WAS}")
    return contents
