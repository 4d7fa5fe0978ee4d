"""The way back: restore the session table from its backup."""

import dataclasses
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from quart_app.migration.engine import Engine
from quart_app.migration.facts import SESSIONS, DatabaseState, Removal
from quart_app.migration.inspection import inspect
from quart_app.migration.outcome import Refused
from quart_app.migration.progress import Reporter
from quart_app.migration.record import write_down_restoration
from quart_app.migration.sealed_file import SEAL_BYTES, SealedFile, read_claims, verify
from quart_app.migration.way_back import GivenBack, give_back

_NOTHING = "Nothing was restored."


@dataclass
class Restored:
    """The result of a restoration; `rows` is None if the same table existed already."""

    state: DatabaseState
    backup: SealedFile
    rows: int | None = None
    notes: list[str] = field(default_factory=list)
    given_back: GivenBack | None = None

    @property
    def is_change(self) -> bool:
        """Whether anything in the database changed."""
        return self.rows is not None or bool(self.given_back and self.given_back.is_change)


def open_backup(engine: Engine, reporter: Reporter, path: Path, state: DatabaseState) -> SealedFile:
    """Return the backup of the database's last removal, unchanged; raises Refused.

    The whole file is read only after its checksum matched the recorded one.
    """
    backup = _claims_for(engine, path)
    refuse_restoration(state, backup)
    _verify(backup, reporter)
    return backup


def _claims_for(engine: Engine, path: Path) -> SealedFile:
    backup = read_claims(path)
    if backup.manifest["engine"] != engine.name:
        raise Refused(
            f"The backup {path} is of a {backup.claim('engine')} database, and this one is"
            f" {engine.name}. {_NOTHING}"
        )
    return backup


def _verify(backup: SealedFile, reporter: Reporter) -> None:
    with reporter.step("reading the backup", unit="bytes") as step:
        step.total = backup.path.stat().st_size - SEAL_BYTES
        verify(backup, lambda block: step.advance(len(block)))


def restore_session_table(
    engine: Engine,
    reporter: Reporter,
    backup: SealedFile,
    *,
    carry_back_default: bool = False,
    commit: bool = True,
) -> Restored:
    """Restore the table in one transaction. Raises Refused, Busy, Failed or Interrupted."""
    with ExitStack() as stack:
        stack.enter_context(engine.attached(backup))
        with reporter.step("waiting for the database"):
            connection = stack.enter_context(engine.writing())
        # The backup was read before the question, perhaps hours ago.
        if _claims_for(engine, backup.path) != backup:
            raise Refused(f"The backup {backup.path} was replaced in the meantime. {_NOTHING}")
        _verify(backup, reporter)
        restored = Restored(inspect(engine, connection), backup)
        try:
            _restore(engine, connection, reporter, restored)
            restored.given_back = give_back(connection, carry_back_default=carry_back_default)
            if commit and restored.is_change:
                engine.commit(
                    connection,
                    to_find_out="run the same command again to find out whether it succeeded",
                )
        except BaseException:
            engine.interruption.disarm()
            raise
        return restored


def refuse_restoration(state: DatabaseState, backup: SealedFile) -> Removal:
    """Return the removal that made the backup, by its checksum; raises Refused.

    The checksum authenticates the file: statements are built from its contents. Its size
    shows sooner that a file of many gigabytes is a different one.
    """
    found = [
        each
        for each in state.removals
        if (each.backup_sha256, each.backup_bytes) == (backup.sha256, backup.size_bytes)
    ]
    if not found:
        raise Refused(_belongs_elsewhere(state, backup))
    if found[0] != state.removals[-1]:
        last = state.removals[-1].backup
        own = f"has the backup {last}" if last else "was made with --no-backup"
        raise Refused(
            f"The backup {backup.path} is of an earlier migration. The last one {own}. {_NOTHING}"
        )
    return found[0]


def _belongs_elsewhere(state: DatabaseState, backup: SealedFile) -> str:
    if state.sessions is not None and not state.removals:
        return f"{SESSIONS} was never removed from this database. {_NOTHING}"
    same = [each for each in state.removals if each.id == backup.manifest["removal"]]
    if same and same[0].backup_sha256 is None:
        return (
            f"An earlier version of this script made the backup {backup.path}, and did not record"
            f" its checksum in the database. Restore it with that version. {_NOTHING}"
        )
    if same:
        return (
            f"The backup {backup.path} was changed after it was made: its checksum is not the one"
            f" recorded in the database. {_NOTHING}"
        )
    last = state.removals[-1].backup if state.removals else None
    own = f" This database's own backup is {last}." if last else ""
    return (
        f"The backup {backup.path} belongs to another database ({backup.claim('database')},"
        f" {backup.claim('made_at')}) or to a run that was rolled back.{own} {_NOTHING}"
    )


def _restore(
    engine: Engine, connection: Connection, reporter: Reporter, restored: Restored
) -> None:
    state, backup = restored.state, restored.backup
    removal = refuse_restoration(state, backup)
    if state.sessions is not None:
        if state.sessions.kind == "table" and engine.is_unchanged(
            connection, backup, state.sessions, reporter
        ):
            return
        raise Refused(
            f"There is already a {state.sessions.kind} {state.sessions.name}, and it differs from"
            f" the backup. {_NOTHING}"
        )
    restored.notes = engine.bring_back(connection, backup, reporter)
    restored.rows = backup.manifest["rows"]
    write_down_restoration(connection, dataclasses.replace(removal, restored_at=datetime.now(UTC)))
