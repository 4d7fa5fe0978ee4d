"""The order of a run's steps. A thread works while the main thread receives signals."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import URL

from quart_app.migration import messages, plan
from quart_app.migration.engine import Engine
from quart_app.migration.erasure import erase_hashes, refuse_erasure
from quart_app.migration.facts import DatabaseState
from quart_app.migration.files import refuse_as_backup, refuse_full_disk, unused
from quart_app.migration.inspection import inspect, inspect_closely
from quart_app.migration.interruption import Interruption
from quart_app.migration.outcome import NotConfirmed, Outcome, Refused
from quart_app.migration.progress import Reporter, reporter_for
from quart_app.migration.removal import Removed, remove_session_table
from quart_app.migration.restoration import (
    Restored,
    open_backup,
    restore_session_table,
)
from quart_app.migration.sealed_file import SealedFile
from quart_app.migration.way_back import KeptHashes, kept_hashes
from quart_app.text.counted import counted

_HURRY_SECONDS = 0.1
_LOOKS = 3  # attempts while another run is at work

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options that the operator gave."""

    database_url: URL
    dry_run: bool = False
    check: bool = False
    backup: Path | None = None
    no_backup: bool = False
    yes: bool = False
    restore: Path | None = None
    carry_over: bool = False
    carry_back_default: bool = False
    no_return: bool = False
    verbose: bool = False

    @property
    def must_ask(self) -> bool:
        """Whether the operator must confirm first."""
        return not (self.yes or self.check or self.dry_run)


class Console(Protocol):
    """The operator's console. `facts` are for the JSON report, filled as they become known."""

    facts: dict[str, Any]

    def say(self, text: str) -> None:
        """Show text."""

    def agrees(self, question: str) -> bool:
        """Ask, and return whether the answer was yes. Raises NotConfirmed without a terminal."""

    def can_be_asked(self) -> bool:
        """Return whether there is a terminal."""


def engine_of(url: URL, interruption: Interruption) -> Engine:
    """Return the database's engine; psycopg is imported for PostgreSQL only."""
    if url.get_backend_name() == "sqlite":
        from quart_app.migration.sqlite.engine import SqliteEngine  # noqa: PLC0415

        return SqliteEngine(url, interruption)
    from quart_app.migration.postgres.engine import PostgresEngine  # noqa: PLC0415

    return PostgresEngine(url, interruption)


async def run_migration(
    options: Options, console: Console, interruption: Interruption
) -> tuple[Outcome, str]:
    """Run the migration; return the outcome and a sentence. Raises the error that ends it."""
    if options.must_ask and not console.can_be_asked():
        raise NotConfirmed(
            "There is no terminal to ask for confirmation. Use --yes to run without asking."
        )
    run = MigrationRun(
        options,
        console,
        engine_of(options.database_url, interruption),
        reporter_for(interruption),
        interruption,
    )
    console.facts["database"] = run.engine.display_url
    if options.no_return:
        return await run.erase()
    return await (run.restore() if options.restore else run.remove())


@dataclass(frozen=True)
class MigrationRun:
    """One run of the migration: the engine, the options and where progress is shown."""

    options: Options
    console: Console
    engine: Engine
    reporter: Reporter
    interruption: Interruption

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread; a signal stops it, and then the thread rolls back."""
        with self.interruption.working():
            task = asyncio.ensure_future(asyncio.to_thread(work))
            while not (await asyncio.wait({task}, timeout=_HURRY_SECONDS))[0]:
                if self.interruption.was_asked:
                    await asyncio.to_thread(self.interruption.cancel_statement)
            return task.result()

    async def remove(self) -> tuple[Outcome, str]:
        """Plan, ask, and remove the session table."""
        state = await self.in_thread(self._look)
        self.console.facts["plan"] = state
        if state.refusal is not None:
            raise Refused(state.refusal)
        if not state.is_pending:
            return Outcome.NOTHING_TO_DO, state.nothing_to_do
        backup = self._backup_path(state)
        self.console.say(plan.removal_plan(state, backup=backup, verbose=self.options.verbose))
        if self.options.check:
            return Outcome.PENDING, "Work is pending. Nothing was changed."
        if backup is not None:
            await self.in_thread(lambda: self._refuse_backup(state, backup))
        self._ask("Continue?")
        removed = await self.in_thread(lambda: self._remove(backup))
        return self._removed(removed)

    def _look(self) -> DatabaseState:
        for _ in range(_LOOKS - 1):
            try:
                return self._look_once()
            except Exception as error:
                if not self.engine.was_overtaken(error):
                    raise
                self.interruption.rearm()
        return self._look_once()

    def _look_once(self) -> DatabaseState:
        with self.engine.reading() as connection:
            return inspect_closely(self.engine, connection, self.reporter)

    def _backup_path(self, state: DatabaseState) -> Path | None:
        if self.options.no_backup or state.sessions is None:
            return None
        if self.options.backup is not None:
            return self.options.backup.absolute()
        return unused(self.engine.default_backup(f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"))

    def _refuse_backup(self, state: DatabaseState, backup: Path) -> None:
        refuse_as_backup(backup, self.engine.own_files(), is_rehearsed=self.options.dry_run)
        if state.sessions is not None:
            with self.engine.reading() as connection:
                if not self.engine.can_store(connection, str(backup)):
                    raise Refused(
                        f"The database records the backup's path, and its encoding can't store"
                        f" {backup}. Choose another path with --backup."
                    )
                needed = self.engine.backup_needs_bytes(connection, state.sessions.name)
            refuse_full_disk(backup.parent, needed, "the backup")

    def _remove(self, backup: Path | None) -> Removed:
        with ExitStack() as stack:
            engine = self.engine
            if self.options.dry_run:
                engine = stack.enter_context(engine.rehearsing(self.reporter))
                backup = backup and engine.rehearsed_backup(backup)
            return remove_session_table(
                engine,
                self.reporter,
                backup=backup,
                carry_over=self.options.carry_over,
                commit=not self.options.dry_run,
            )

    def _removed(self, removed: Removed) -> tuple[Outcome, str]:
        if not removed.state.is_pending:
            return Outcome.NOTHING_TO_DO, removed.state.nothing_to_do
        dry_run = self.options.dry_run
        self.console.facts |= {
            "dry_run": dry_run,
            "removal": removed.id,
            "revision": removed.revision,
            "rows": removed.rows,
            "backup": None if dry_run else removed.backup,
            "checksums": {
                table: {
                    "rows": before.rows,
                    "before": before.sha256,
                    "after": removed.after[table].sha256,
                }
                for table, before in removed.before.items()
            },
            "defaults_changed": removed.defaults_changed,
            "refused": removed.refused,
            "locks": removed.locks,
        }
        self.console.say(
            messages.removed_in_words(removed, dry_run=dry_run, verbose=self.options.verbose)
        )
        return Outcome.DONE, messages.removal_message(removed, dry_run=dry_run)

    async def restore(self) -> tuple[Outcome, str]:
        """Check the backup, ask, and bring the session table back."""
        path = self.options.restore
        assert path is not None  # noqa: S101 the caller's condition
        state, backup = await self.in_thread(lambda: self._look_at_backup(path.absolute()))
        self.console.facts["backup"] = backup.manifest | {"path": path, "sha256": backup.sha256}
        if state.sessions is not None:
            rehearsed = await self.in_thread(lambda: self._restore(backup, commit=False))
            if not rehearsed.is_change:
                return self._nothing_to_restore(rehearsed)
        self.console.say(plan.restoration_plan(state, backup))
        self._ask("Continue?")
        commit = not self.options.dry_run
        restored = await self.in_thread(lambda: self._restore(backup, commit=commit))
        if not restored.is_change:  # another run was first
            return self._nothing_to_restore(restored)
        dry_run = self.options.dry_run
        self.console.facts |= {
            "dry_run": dry_run,
            "rows": restored.rows,
            "notes": restored.notes,
            "given_back": restored.given_back,
        }
        self.console.say(messages.restored_in_words(restored, dry_run=dry_run))
        return Outcome.DONE, messages.restoration_message(restored, dry_run=dry_run)

    def _nothing_to_restore(self, restored: Restored) -> tuple[Outcome, str]:
        if restored.given_back is not None and (lines := restored.given_back.in_words()):
            self.console.say("\n".join(lines))
        return Outcome.NOTHING_TO_DO, messages.restoration_message(restored, dry_run=False)

    def _look_at_backup(self, path: Path) -> tuple[DatabaseState, SealedFile]:
        with self.engine.reading() as connection:
            state = inspect(self.engine, connection)
        return state, open_backup(self.engine, self.reporter, path, state)

    def _restore(self, backup: SealedFile, *, commit: bool) -> Restored:
        with ExitStack() as stack:
            engine = self.engine
            if self.options.dry_run:
                engine = stack.enter_context(engine.rehearsing(self.reporter))
            return restore_session_table(
                engine,
                self.reporter,
                backup,
                carry_back_default=self.options.carry_back_default,
                commit=commit,
            )

    async def erase(self) -> tuple[Outcome, str]:
        """Count the legacy hashes that are kept, ask, and erase them."""
        hashes, backup = await self.in_thread(self._look_at_hashes)
        self.console.facts["hashes"] = hashes
        if not hashes.are_pending:
            return Outcome.NOTHING_TO_DO, "Nothing to do: no older password hash is kept."
        self.console.say(plan.erasure_plan(self.engine.display_url, hashes, backup))
        if self.options.check:
            return Outcome.PENDING, "Work is pending. Nothing was changed."
        self._ask("Erase them? This can't be undone.")
        if self.options.dry_run:
            message = "Dry run: they would be erased. Nothing was changed."
            self.console.say(message)
            return Outcome.DONE, message
        await self.in_thread(lambda: erase_hashes(self.engine, self.reporter))
        erased = counted(hashes.kept, "older password hash", "older password hashes")
        message = f"Done: {erased} erased. No more will be kept."
        self.console.say(message)
        return Outcome.DONE, message

    def _look_at_hashes(self) -> tuple[KeptHashes, str | None]:
        with self.engine.reading() as connection:
            state = inspect(self.engine, connection)
            refuse_erasure(state)
            last = state.removals[-1].backup if state.removals else None
            return kept_hashes(connection), last

    def _ask(self, question: str) -> None:
        if self.options.must_ask and not self.console.agrees(question):
            raise NotConfirmed("Not confirmed. Nothing was changed.")
