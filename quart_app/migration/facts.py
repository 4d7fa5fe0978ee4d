"""The contents of a database as values, for the plan and the checks."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from quart_app.storage.schema.legacy_refusals import RefusedUsers
from quart_app.text.counted import counted

SESSIONS = "user_sessions"
# The older application's names for the column, the later one first.
ACTIVE_PLATFORM_COLUMNS = ("active_platform_id", "platform_connection_id")
_ESSENTIAL = ("session_id", "user_id")
_NEEDED = ("users", "platform_connections")


@dataclass(frozen=True)
class TableFacts:
    """A table's size; the bytes are None if the engine doesn't know them."""

    name: str
    rows: int
    size_bytes: int | None


@dataclass(frozen=True)
class SessionTable:
    """The table that is to be removed.

    `users` is how many people have a row in it and can log in here; `some_users` are a few of
    their names.
    """

    name: str
    kind: str
    columns: tuple[str, ...]
    goes_with_it: tuple[str, ...]  # its own indexes, keys and triggers
    dependents: tuple[str, ...]  # other objects that would break
    obstacles: tuple[str, ...] = ()  # parts that a backup could not restore
    rows: int = 0
    users: int = 0
    some_users: tuple[str, ...] = ()
    rows_without_user: int = 0
    rows_without_platform: int = 0

    @property
    def active_platform_column(self) -> str | None:
        """The column with the platform connection that a session used last."""
        return next((name for name in ACTIVE_PLATFORM_COLUMNS if name in self.columns), None)

    @property
    def refusal(self) -> str | None:
        """The reason why the table must not be removed."""
        if self.kind != "table":
            return f"{self.name} is a {self.kind}, not a table."
        lacking = [name for name in _ESSENTIAL if name not in self.columns]
        if lacking:
            return (
                f"The table {self.name} is not the older application's:"
                f" it lacks {', '.join(lacking)}."
            )
        if self.dependents:
            return (
                f"These depend on {self.name}, and the migration doesn't remove them:"
                f" {'; '.join(self.dependents)}."
            )
        if self.obstacles:
            return (
                f"A backup can't restore {'; '.join(self.obstacles)}. Save its definition, drop it"
                " and run the migration again."
            )
        return None


@dataclass(frozen=True)
class Removal:
    """The record of a removal."""

    id: str
    removed_at: datetime
    rows: int
    backup: str | None
    restored_at: datetime | None
    backup_sha256: str | None = None  # None without a backup, and of versions before
    backup_bytes: int | None = None


@dataclass(frozen=True)
class DatabaseState:
    """The state of the database, which decides what there is to do."""

    database: str
    revision: str | None
    newest_revision: str
    tables: tuple[TableFacts, ...]
    sessions: SessionTable | None
    removals: tuple[Removal, ...]
    unknown_here: str | None = None  # something it uses that SQLite lacks here
    refused: RefusedUsers = field(default_factory=RefusedUsers)  # users who come over as inactive
    elsewhere: str | None = None  # another schema with a user_sessions (PostgreSQL's schemas)
    hidden: str | None = None  # why rows can't be seen (PostgreSQL's row level security)

    @property
    def refusal(self) -> str | None:
        """The reason why nothing can be done here; None if it can."""
        names = {table.name for table in self.tables}
        if not names and self.sessions is None:
            return "The database is empty, so there is nothing to migrate."
        lacking = [name for name in _NEEDED if name not in names]
        if lacking:
            return (
                "This is not the older application's database:"
                f" it has no table {' and no table '.join(lacking)}."
            )
        if self.sessions is None and self.elsewhere is not None:
            return (
                f"The table {SESSIONS} is in the schema {self.elsewhere}, which is not the first in"
                " the search path. Name the schema in the URL:"
                f" ?options=-csearch_path%3D{_in_options(self.elsewhere)}"
            )
        if self.hidden is not None:
            return self.hidden
        if self.unknown_here is not None:
            return (
                f"SQLite can't check this database: {self.unknown_here}. Drop the index or other"
                " object that uses it. Recreate it afterwards, with the program that provides it."
            )
        return self.sessions.refusal if self.sessions is not None else None

    @property
    def is_pending(self) -> bool:
        """Whether there is anything to do."""
        return self.sessions is not None or self.revision != self.newest_revision

    @property
    def nothing_to_do(self) -> str:
        """The sentence on why there is nothing to do."""
        at = f"The schema is at revision {self.revision}."
        if not self.removals:
            return f"Nothing to do: this database never had the table {SESSIONS}. {at}"
        last = self.removals[-1]
        backup = f" Its backup is {last.backup}." if last.backup else ""
        return (
            f"Nothing to do: {SESSIONS} ({counted(last.rows, 'row')}) was removed at"
            f" {last.removed_at:%Y-%m-%d %H:%M:%S} UTC.{backup} {at}"
        )


def _in_options(text: str) -> str:
    """Write text as the value of a setting in a URL's `options`."""
    return quote(re.sub(r"([\\\s])", r"\\\1", text), safe="")


@dataclass(frozen=True)
class Contents:
    """A table's rows and their SHA-256, in the columns that were there before."""

    rows: int
    sha256: str


@dataclass(frozen=True)
class Backup:
    """A backup that was written, synced, read again and counted.

    `notes` are sentences about findings that are no reason to stop.
    """

    path: Path
    rows: int
    size_bytes: int
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def is_there(self) -> bool:
        """Whether the file still exists, with the same size."""
        try:
            return self.path.stat().st_size == self.size_bytes
        except OSError:
            return False
