"""SQLite, as the migration sees it."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection

from quart_app.migration.engine import Engine
from quart_app.migration.facts import Backup, Contents, SessionTable
from quart_app.migration.files import refuse_full_disk
from quart_app.migration.interruption import Interruption
from quart_app.migration.outcome import Refused
from quart_app.migration.progress import Reporter
from quart_app.migration.sealed_file import Advance, SealedFile
from quart_app.migration.sqlite import backup, connect, inspection, restore
from quart_app.migration.sqlite.dependents import quoted

_READ_ONLY = {"mode": "ro", "immutable": "1"}


class SqliteEngine(Engine):
    """A SQLite file."""

    _reader: Any = None  # in the writing transaction: the reader of the same state

    def __init__(
        self, url: URL, interruption: Interruption, *, display_url: str | None = None
    ) -> None:
        super().__init__(url, interruption)
        self._display_url = display_url
        self._attach: str | None = None

    @property
    def display_url(self) -> str:
        """The database's name for display."""
        return self._display_url or super().display_url

    @property
    def file(self) -> Path:
        """The file; raises Refused if there is no file."""
        return connect.file_of(self.url)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that leaves the file and its folder unchanged."""
        address = connect.uri_for_reading(self.file)
        with connect.connected(address, "BEGIN", self.interruption) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Take the write lock: nobody else writes until the transaction ends."""
        if any(self.url.query.get(name) == value for name, value in _READ_ONLY.items()):
            raise Refused("The database's URL opens it read-only (mode=ro or immutable=1).")
        with connect.guarded(self.file, self.interruption, attach=self._attach) as (
            connection,
            self._reader,
        ):
            yield connection

    @contextmanager
    def rehearsing(self, reporter: Reporter) -> Iterator[Engine]:
        """Give a private copy, which is deleted afterwards."""
        with tempfile.TemporaryDirectory(prefix="quart_app-dry-run-") as folder:
            path = Path(folder, "copy.db")
            with (
                closing(connect.open_sqlite(connect.uri_for_reading(self.file))) as source,
                self.interruption.canceling(source.interrupt),
            ):
                # The copy, the backup of it, and what restoring would add to it.
                refuse_full_disk(Path(folder), 3 * inspection.database_bytes(source), "a copy")
                path.touch(mode=0o600)
                backup.copy_database(source, path, "private copy", reporter)
            url = self.url.set(database=str(path), query={})
            yield SqliteEngine(url, self.interruption, display_url=self.display_url)

    def rehearsed_backup(self, backup: Path) -> Path:
        """Return a path beside the private copy."""
        return self.file.with_name("copy.backup")

    def locks(self, connection: Connection) -> list[str]:
        """Name SQLite's only lock."""
        return ["RESERVED on the whole database: others can read, but not write"]

    def tables(self, connection: Connection) -> list[str]:
        """Name the tables."""
        return inspection.tables(connect.raw(connection))

    def size_bytes(self, connection: Connection, table: str) -> int | None:
        """Return the size of a table with its indexes."""
        return inspection.size_bytes(connect.raw(connection), table)

    def session_table(self, connection: Connection) -> SessionTable | None:
        """Describe the table user_sessions."""
        return inspection.session_table(connect.raw(connection))

    def unknown_here(self, connection: Connection) -> str | None:
        """Name a function, collation or module that only the program of its author has."""
        return inspection.unknown_here(connect.raw(connection))

    def columns(self, connection: Connection, table: str) -> list[str]:
        """Name a table's columns."""
        return inspection.columns(connect.raw(connection), table)

    def contents(
        self, connection: Connection, table: str, columns: Sequence[str], advance: Advance
    ) -> Contents:
        """Read all rows of a table."""
        return inspection.contents(connect.raw(connection), table, columns, advance)

    def definitions(self, connection: Connection) -> dict[tuple[str, str], str]:
        """Return the definitions of all objects in the database."""
        return inspection.definitions(connect.raw(connection))

    def broken_foreign_keys(self, connection: Connection) -> Counter[str]:
        """Count by table the rows whose foreign key has no target."""
        return inspection.broken_foreign_keys(connect.raw(connection))

    def default_backup(self, stamp: str) -> Path:
        """Return a path beside the database."""
        return self.file.with_name(f"{self.file.name}.before-migration-{stamp}.backup")

    def own_files(self) -> set[Path]:
        """Name the database and SQLite's files beside it; for a link, beside both."""
        linked = self.file.parent.resolve() / self.file.name
        return {
            file.with_name(f"{file.name}{suffix}")
            for file in (linked, self.file.resolve())
            for suffix in connect.SUFFIXES
        }

    def backup_needs_bytes(self, connection: Connection, table: str) -> int:
        """Return the size of the whole database."""
        return inspection.database_bytes(connect.raw(connection))

    def back_up(
        self,
        connection: Connection,
        table: SessionTable,
        path: Path,
        manifest: dict[str, Any],
        reporter: Reporter,
    ) -> Backup:
        """Back up with the separate reader: nobody has written since the lock."""
        return backup.back_up(self._reader, table, path, manifest, reporter)

    def remove(self, connection: Connection, table: SessionTable) -> None:
        """Drop the table."""
        connect.raw(connection).execute(f"DROP TABLE main.{quoted(table.name)}")

    def try_backup(self, connection: Connection, sealed: SealedFile, reporter: Reporter) -> None:
        """Recreate the table in a separate database."""
        restore.try_backup(restore.attachable(sealed), str(sealed.manifest["table"]), reporter)

    @contextmanager
    def attached(self, sealed: SealedFile) -> Iterator[None]:
        """Attach the backup for the next transaction."""
        self._attach = restore.attachable(sealed)
        yield
        self._attach = None

    def bring_back(
        self, connection: Connection, sealed: SealedFile, reporter: Reporter
    ) -> list[str]:
        """Recreate the table."""
        return restore.bring_back(connect.raw(connection), sealed, reporter)

    def is_unchanged(
        self, connection: Connection, sealed: SealedFile, table: SessionTable, reporter: Reporter
    ) -> bool:
        """Return whether the existing table equals the one in the backup."""
        name = str(sealed.manifest["table"])
        return table.name == name and restore.is_same(connect.raw(connection), name, reporter)
