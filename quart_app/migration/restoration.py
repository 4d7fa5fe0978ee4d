"""The way back: the session table as it was, from its backup."""

import dataclasses
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from quart_app.migration.engine import Engine
from quart_app.migration.facts import SESSIONS, Removal, Standing
from quart_app.migration.inspection import look
from quart_app.migration.outcome import Refused
from quart_app.migration.progress import Reporter
from quart_app.migration.record import write_down_restoration
from quart_app.migration.sealed_file import SEAL_BYTES, SealedFile, open_sealed
from quart_app.migration.way_back import GivenBack, give_back

_NOTHING = "Nothing was restored."


@dataclass
class Restored:
    """What was brought back; `rows` is None where the table stood there already, just so."""

    standing: Standing
    backup: SealedFile
    rows: int | None = None
    notes: list[str] = field(default_factory=list)
    given_back: GivenBack | None = None

    @property
    def is_change(self) -> bool:
        """Whether anything in the database is not as it was."""
        return self.rows is not None or bool(self.given_back and self.given_back.is_change)


def open_backup(engine: Engine, reporter: Reporter, path: Path) -> SealedFile:
    """Return a backup that is whole and of this engine; raises Refused."""
    with reporter.step("reading the backup", unit="bytes") as step:
        step.total = path.stat().st_size - SEAL_BYTES if path.is_file() else None
        backup = open_sealed(path, lambda block: step.advance(len(block)))
    if backup.manifest.get("engine") != engine.name:
        raise Refused(
            f"The backup {path} is of {backup.manifest.get('engine')}, and this database is"
            f" {engine.name}. {_NOTHING}"
        )
    return backup


def restore_session_table(
    engine: Engine,
    reporter: Reporter,
    backup: SealedFile,
    *,
    carry_back_default: bool = False,
    commit: bool = True,
) -> Restored:
    """Bring it back in one transaction. Raises Refused, Busy, Failed or Interrupted."""
    with ExitStack() as stack:
        stack.enter_context(engine.attached(backup))
        with reporter.step("waiting for the database"):
            connection = stack.enter_context(engine.writing())
        # The question may have stood for hours since it was read.
        if open_backup(engine, reporter, backup.path) != backup:
            raise Refused(f"The backup {backup.path} was replaced meanwhile. {_NOTHING}")
        restored = Restored(look(engine, connection), backup)
        try:
            _restore(engine, connection, reporter, restored)
            restored.given_back = give_back(connection, carry_back_default=carry_back_default)
            if commit and restored.is_change:
                engine.interruption.commit_begins()
                connection.commit()
                engine.interruption.committed()
        except BaseException:
            engine.interruption.let_go()
            raise
        return restored


def refuse_restoration(standing: Standing, backup: SealedFile) -> Removal:
    """Return the removal that the backup belongs to; raises Refused."""
    found = [each for each in standing.removals if each.id == backup.manifest["removal"]]
    if not found:
        raise Refused(_belongs_elsewhere(standing, backup))
    if found[0] != standing.removals[-1]:
        last = standing.removals[-1].backup
        own = f"the last one's is {last}" if last else "the last one was made with --no-backup"
        raise Refused(f"The backup {backup.path} is of an earlier removal; {own}. {_NOTHING}")
    return found[0]


def _belongs_elsewhere(standing: Standing, backup: SealedFile) -> str:
    if standing.sessions is not None and not standing.removals:
        return f"{SESSIONS} was never removed from this database, it stands there. {_NOTHING}"
    last = standing.removals[-1].backup if standing.removals else None
    own = f" This database's own backup is {last}." if last else ""
    return (
        f"The backup {backup.path} belongs to another database"
        f" ({backup.manifest['database']}, {backup.manifest['made_at']}) or to a run that was"
        f" rolled back.{own} {_NOTHING}"
    )


def _restore(
    engine: Engine, connection: Connection, reporter: Reporter, restored: Restored
) -> None:
    standing, backup = restored.standing, restored.backup
    removal = refuse_restoration(standing, backup)
    if standing.sessions is not None:
        if standing.sessions.kind == "table" and engine.is_unchanged(
            connection, backup, standing.sessions, reporter
        ):
            return
        raise Refused(
            f"A {standing.sessions.kind} {standing.sessions.name} stands there already and is not"
            f" what the backup holds. {_NOTHING}"
        )
    restored.notes = engine.bring_back(connection, backup, reporter)
    restored.rows = backup.manifest["rows"]
    write_down_restoration(connection, dataclasses.replace(removal, restored_at=datetime.now(UTC)))
