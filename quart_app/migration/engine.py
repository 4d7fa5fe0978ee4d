"""The interface of the two engines, SQLite and PostgreSQL."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError

from quart_app.migration.facts import Backup, Contents, SessionTable
from quart_app.migration.interruption import Interruption
from quart_app.migration.outcome import OutcomeUnknown
from quart_app.migration.progress import Reporter
from quart_app.migration.sealed_file import Advance, SealedFile


class Engine(ABC):
    """One database, as the migration sees it. All methods run in the working thread."""

    def __init__(self, url: URL, interruption: Interruption) -> None:
        self.url, self.interruption = url, interruption

    @property
    def name(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.url.get_backend_name()

    @property
    def display_url(self) -> str:
        """The database's name for display, without a password."""
        query = {
            name: value for name, value in self.url.query.items() if "password" not in name.lower()
        }
        url = self.url.set(drivername=self.name, query=query)
        return url.render_as_string(hide_password=True)

    # --- connections ---

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection]:
        """Open a transaction that sees one state and leaves every byte as it is."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Connection]:
        """Open the one writing transaction; until its end nobody else changes the tables we read.

        It rolls back unless `connection.commit()` was called. Raises Busy after a bounded wait.
        """

    def commit(self, connection: Connection, *, to_find_out: str) -> None:
        """Commit; an interruption no longer stops it. Raises OutcomeUnknown.

        `to_find_out` says how the operator can find out whether it was committed.
        """
        self.interruption.commit_begins()
        try:
            connection.commit()
        except DBAPIError as error:
            if not error.connection_invalidated and self.name == "sqlite":
                raise
            raise OutcomeUnknown(
                f"The server's answer to the commit was lost: {to_find_out}."
            ) from error
        self.interruption.committed()

    @abstractmethod
    def rehearsing(self, reporter: Reporter) -> AbstractContextManager["Engine"]:
        """Give an engine whose changes are discarded, for --dry-run."""

    @abstractmethod
    def rehearsed_backup(self, backup: Path) -> Path:
        """Return the path of a rehearsal's backup, which is deleted afterwards."""

    @abstractmethod
    def locks(self, connection: Connection) -> list[str]:
        """Name the locks that the transaction holds."""

    def was_overtaken(self, error: Exception) -> bool:
        """Return whether another process changed the database's tables while we read them."""
        return False

    # --- looking ---

    @abstractmethod
    def tables(self, connection: Connection) -> list[str]:
        """Name the tables, without the engine's own."""

    @abstractmethod
    def size_bytes(self, connection: Connection, table: str) -> int | None:
        """Return the size of a table with its indexes; None if it is unknown."""

    @abstractmethod
    def session_table(self, connection: Connection) -> SessionTable | None:
        """Describe the table user_sessions, without its rows."""

    def session_table_elsewhere(self, connection: Connection) -> str | None:
        """Name another schema that has a user_sessions."""
        return None

    def unknown_here(self, connection: Connection) -> str | None:
        """Name something that the database uses and we lack, so that it can't be checked."""
        return None

    def hidden(self, connection: Connection) -> str | None:
        """Return a sentence on why some rows are hidden from us."""
        return None

    def can_store(self, connection: Connection, text: str) -> bool:
        """Return whether the database's encoding has every character of the text."""
        return True

    def key(self, column: str) -> str:
        """Write a column so that it compares with a column of another type."""
        return column

    @abstractmethod
    def columns(self, connection: Connection, table: str) -> list[str]:
        """Name a table's columns in their order."""

    @abstractmethod
    def contents(
        self, connection: Connection, table: str, columns: Sequence[str], advance: Advance
    ) -> Contents:
        """Read all rows of a table, in batches that keep memory flat."""

    @abstractmethod
    def definitions(self, connection: Connection) -> dict[tuple[str, str], str]:
        """Return the definitions of all objects in the database, by (table, object)."""

    @abstractmethod
    def broken_foreign_keys(self, connection: Connection) -> Counter[str]:
        """Count by table the rows whose foreign key has no target."""

    def why_rows_change(self, connection: Connection) -> str:
        """Return a sentence, after a space, on what may have written into other tables."""
        return ""

    # --- changing ---

    @abstractmethod
    def default_backup(self, stamp: str) -> Path:
        """Return where the backup goes by default."""

    def own_files(self) -> set[Path]:
        """Name the files that the engine makes, replaces and deletes as it likes."""
        return set()

    @abstractmethod
    def backup_needs_bytes(self, connection: Connection, table: str) -> int:
        """Return roughly how much space a backup needs."""

    @abstractmethod
    def back_up(
        self,
        connection: Connection,
        table: SessionTable,
        path: Path,
        manifest: dict[str, Any],
        reporter: Reporter,
    ) -> Backup:
        """Write, sync and verify a backup of exactly the state that the transaction sees."""

    @abstractmethod
    def remove(self, connection: Connection, table: SessionTable) -> None:
        """Drop the table with its own parts, and nothing else."""

    @abstractmethod
    def try_backup(self, connection: Connection, sealed: SealedFile, reporter: Reporter) -> None:
        """Recreate the table from its backup, rows included, and undo that.

        Raises Refused, which names what would be lost.
        """

    def attached(self, sealed: SealedFile) -> AbstractContextManager[None]:
        """Attach the backup for the next transaction, if the engine needs that."""
        return nullcontext()

    @abstractmethod
    def bring_back(
        self, connection: Connection, sealed: SealedFile, reporter: Reporter
    ) -> list[str]:
        """Recreate the table with rows, indexes and keys; return notes for the operator.

        Raises Refused if the result differs from the original.
        """

    @abstractmethod
    def is_unchanged(
        self, connection: Connection, sealed: SealedFile, table: SessionTable, reporter: Reporter
    ) -> bool:
        """Return whether the existing table equals the one in the backup."""
