"""PostgreSQL, as the migration sees it."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection

from quart_app.migration.engine import Engine
from quart_app.migration.facts import Backup, Contents, SessionTable
from quart_app.migration.outcome import Refused
from quart_app.migration.postgres import backup, connect, inspection, restore
from quart_app.migration.postgres.connect import raw
from quart_app.migration.postgres.definition import identifier
from quart_app.migration.progress import Reporter
from quart_app.migration.sealed_file import Advance, SealedFile

# The weakest first: https://www.postgresql.org/docs/18/explicit-locking.html
_LOCKS = [
    *("AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock"),
    *("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"),
]


class PostgresEngine(Engine):
    """The current schema of a PostgreSQL database."""

    _rehearsal: Path | None = None
    _standing: Sequence[int] = ()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that can't write."""
        with connect.connected(self.url, self.interruption, read_only=True) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Lock the tables to change, then begin to read."""
        with connect.connected(self.url, self.interruption, read_only=False) as connection:
            connect.lock(connection)
            oids = raw(connection).execute("SELECT oid FROM pg_class WHERE relkind IN ('r', 'p')")
            self._standing = [oid for (oid,) in oids]
            yield connection

    def was_overtaken(self, error: Exception) -> bool:
        """Return whether another run interfered, or was first."""
        cause = getattr(error, "orig", None) or error
        return getattr(cause, "sqlstate", None) in connect.STATES_OF_ANOTHER_RUN

    @contextmanager
    def rehearsing(self, reporter: Reporter) -> Iterator[Engine]:
        """Give this engine: the transaction is rolled back, and the backup goes elsewhere."""
        with tempfile.TemporaryDirectory(prefix="quart_app-dry-run-") as folder:
            self._rehearsal = Path(folder)
            yield self

    def rehearsed_backup(self, path: Path) -> Path:
        """Return a path that is deleted afterwards."""
        return (self._rehearsal or path.parent) / path.name

    def locks(self, connection: Connection) -> list[str]:
        """Name each table's strongest lock; locks on tables that we made block nobody."""
        rows = (
            raw(connection)
            .execute(
                "SELECT relation::regclass::text, array_agg(mode::text) FROM pg_locks AS l"
                " JOIN pg_class AS c ON c.oid = l.relation AND c.relkind IN ('r', 'p')"
                " WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation >= 16384"
                " AND relation = ANY(%s) GROUP BY relation ORDER BY 1",
                [self._standing],
            )
            .fetchall()
        )
        strongest = ((max(modes, key=_LOCKS.index), table) for table, modes in rows)
        return [f"{mode} on {table}" for mode, table in strongest if mode != _LOCKS[0]]

    def tables(self, connection: Connection) -> list[str]:
        """Name the tables of the current schema."""
        return inspection.tables(raw(connection))

    def size_bytes(self, connection: Connection, table: str) -> int | None:
        """Return the size of a table with its indexes."""
        return inspection.size_bytes(raw(connection), table)

    def session_table(self, connection: Connection) -> SessionTable | None:
        """Describe the table user_sessions."""
        return inspection.session_table(raw(connection))

    def session_table_elsewhere(self, connection: Connection) -> str | None:
        """Name another schema that has the table."""
        return inspection.elsewhere(raw(connection))

    def hidden(self, connection: Connection) -> str | None:
        """Say which table's rows a policy hides from us."""
        return inspection.hidden(raw(connection))

    def can_store(self, connection: Connection, text: str) -> bool:
        """Return whether the text comes back as it was sent."""
        return raw(connection).execute("SELECT %s::text", [text]).fetchone() == (text,)

    def key(self, column: str) -> str:
        """Compare as text: a column may have any type."""
        return f"CAST({column} AS text)"

    def columns(self, connection: Connection, table: str) -> list[str]:
        """Name a table's columns."""
        return inspection.columns(raw(connection), table)

    def contents(
        self, connection: Connection, table: str, columns: Sequence[str], advance: Advance
    ) -> Contents:
        """Read all rows of a table."""
        return inspection.contents(raw(connection), table, columns, advance)

    def definitions(self, connection: Connection) -> dict[tuple[str, str], str]:
        """Return the definitions of all objects in the database."""
        return inspection.definitions(raw(connection))

    def broken_foreign_keys(self, connection: Connection) -> Counter[str]:
        """Count by table the rows whose foreign key has no target."""
        return inspection.broken_foreign_keys(raw(connection))

    def why_rows_change(self, connection: Connection) -> str:
        """Name the event triggers, which run when tables are made and removed."""
        statements = inspection.disabling_event_triggers(raw(connection))
        if not statements:
            return ""
        return f" An event trigger may have written there. Disable it first: {statements}"

    def default_backup(self, stamp: str) -> Path:
        """Return a path in the working directory, because the server's folders are not ours."""
        name = re.sub(r"[^\w.-]", "_", self.url.database or "postgresql")
        return Path.cwd() / f"{name}.user_sessions-{stamp}.backup"

    def backup_needs_bytes(self, connection: Connection, table: str) -> int:
        """Return the table's size, which its rows as text hardly exceed."""
        return inspection.size_bytes(raw(connection), table) or 0

    def back_up(
        self,
        connection: Connection,
        table: SessionTable,
        path: Path,
        manifest: dict[str, Any],
        reporter: Reporter,
    ) -> Backup:
        """Copy the rows out in the transaction itself."""
        return backup.back_up(raw(connection), table, path, manifest, reporter)

    def remove(self, connection: Connection, table: SessionTable) -> None:
        """Drop the table."""
        try:
            raw(connection).execute(f"DROP TABLE {identifier(table.name)}".encode())
        except psycopg.errors.DependentObjectsStillExist as error:
            said = "; ".join((error.diag.message_detail or "").splitlines())
            raise Refused(
                f"These depend on {table.name}, and the migration doesn't remove them: {said}."
                " The database is unchanged."
            ) from error

    def try_backup(self, connection: Connection, sealed: SealedFile, reporter: Reporter) -> None:
        """Recreate the table, and undo that."""
        restore.try_backup(raw(connection), sealed, reporter)

    def bring_back(
        self, connection: Connection, sealed: SealedFile, reporter: Reporter
    ) -> list[str]:
        """Recreate the table."""
        return restore.bring_back(raw(connection), sealed, reporter)

    def is_unchanged(
        self, connection: Connection, sealed: SealedFile, table: SessionTable, reporter: Reporter
    ) -> bool:
        """Return whether the existing table equals the one in the backup."""
        with reporter.step("comparing", total=sealed.manifest["rows"]) as step:
            return not restore.compare(raw(connection), sealed, step.advance)
