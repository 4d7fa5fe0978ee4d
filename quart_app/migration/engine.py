"""What the two engines do each in its own way."""

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
    """One database, as the migration sees it. All of it runs in the thread that works."""

    def __init__(self, url: URL, interruption: Interruption) -> None:
        self.url, self.interruption = url, interruption

    @property
    def name(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.url.get_backend_name()

    @property
    def display_url(self) -> str:
        """The database in words that hold no password."""
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
        """Open the one transaction, in which nobody else changes what we look at.

        It rolls back unless `connection.commit()` was called. Raises Busy after a bounded wait.
        """

    def commit(self, connection: Connection, *, to_find_out: str) -> None:
        """Commit, which no interruption stops any more. Raises OutcomeUnknown.

        `to_find_out` says how the operator learns whether it happened.
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
        """Give what may be changed at will, for --dry-run."""

    @abstractmethod
    def rehearsed_backup(self, backup: Path) -> Path:
        """Return where a rehearsal writes its backup, which is gone afterwards."""

    @abstractmethod
    def locks(self, connection: Connection) -> list[str]:
        """Name the locks that the transaction holds."""

    def was_overtaken(self, error: Exception) -> bool:
        """Tell whether somebody else changed the database's tables while we looked at them."""
        return False

    # --- looking ---

    @abstractmethod
    def tables(self, connection: Connection) -> list[str]:
        """Name the tables, the engine's own left out."""

    @abstractmethod
    def size_bytes(self, connection: Connection, table: str) -> int | None:
        """Return what a table and its indexes take; None where that can't be told."""

    @abstractmethod
    def session_table(self, connection: Connection) -> SessionTable | None:
        """Describe what is called user_sessions, without its rows."""

    def session_table_elsewhere(self, connection: Connection) -> str | None:
        """Name another schema in which a user_sessions stands."""
        return None

    def unknown_here(self, connection: Connection) -> str | None:
        """Say what the database uses and we don't have, so that it can't be checked."""
        return None

    def hidden(self, connection: Connection) -> str | None:
        """Say, in a sentence, why some rows can't be seen."""
        return None

    def can_store(self, connection: Connection, text: str) -> bool:
        """Tell whether the database's encoding has every character of the text."""
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
        """Read all rows of a table, as few at a time as keeps memory flat."""

    @abstractmethod
    def definitions(self, connection: Connection) -> dict[tuple[str, str], str]:
        """Return what defines everything in the database: (table, object) -> definition."""

    @abstractmethod
    def broken_foreign_keys(self, connection: Connection) -> Counter[str]:
        """Count by table the rows whose foreign key leads nowhere."""

    def why_rows_change(self, connection: Connection) -> str:
        """Return a sentence, with a space before it, on what may write into others' tables."""
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
        """Return how much space a backup takes, roughly."""

    @abstractmethod
    def back_up(
        self,
        connection: Connection,
        table: SessionTable,
        path: Path,
        manifest: dict[str, Any],
        reporter: Reporter,
    ) -> Backup:
        """Write, sync and verify a backup of just what the transaction sees."""

    @abstractmethod
    def remove(self, connection: Connection, table: SessionTable) -> None:
        """Drop the table, and nothing along with it but its own parts."""

    @abstractmethod
    def try_backup(self, connection: Connection, sealed: SealedFile, reporter: Reporter) -> None:
        """Make the table again from its backup, rows included, and take it back.

        Raises Refused with the name of what would be lost.
        """

    def attached(self, sealed: SealedFile) -> AbstractContextManager[None]:
        """Let the next transaction see the backup beside the database, where that is needed."""
        return nullcontext()

    @abstractmethod
    def bring_back(
        self, connection: Connection, sealed: SealedFile, reporter: Reporter
    ) -> list[str]:
        """Make the table again, with rows, indexes and keys; return what is worth saying.

        Raises Refused where it does not become what it was.
        """

    @abstractmethod
    def is_unchanged(
        self, connection: Connection, sealed: SealedFile, table: SessionTable, reporter: Reporter
    ) -> bool:
        """Tell whether the table that stands there is what the backup holds."""
