"""A backup of the whole file, by SQLite's online backup, and its verification."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from quart_app.migration.facts import Backup, SessionTable
from quart_app.migration.files import new_file
from quart_app.migration.interruption import Interruption
from quart_app.migration.progress import Reporter
from quart_app.migration.sealed_file import digest_of, seal
from quart_app.migration.sqlite.connect import open_sqlite, uri
from quart_app.migration.sqlite.dependents import quoted
from quart_app.migration.sqlite.integrity import check_integrity

_PAGES_AT_ONCE = 4096


def copy_database(source: sqlite3.Connection, path: Path, title: str, reporter: Reporter) -> None:
    """Copy into an empty file, which is then complete in one file; it is not synced yet.

    The source must not be a writing connection: its backup would never end.
    """
    with (
        reporter.step(title, unit="pages") as step,
        closing(open_sqlite(uri(path, "mode=rw"))) as copy,
    ):
        # A crash in between is harmless: the file does not have its name yet.
        copy.execute("PRAGMA synchronous = OFF")

        def count(_status: int, remaining: int, total: int) -> None:
            step.total = total
            step.advance(total - remaining - step.done)

        source.backup(copy, pages=_PAGES_AT_ONCE, progress=count)
        copy.execute("PRAGMA journal_mode = DELETE")  # a file in WAL mode would be three


def back_up(
    source: sqlite3.Connection,
    table: SessionTable,
    path: Path,
    manifest: dict[str, Any],
    reporter: Reporter,
) -> Backup:
    """Write, seal and sync the backup, then let SQLite check the file on the disk."""
    with new_file(path) as partial:
        copy_database(source, partial, "backup", reporter)
        with partial.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            with reporter.step("sealing the backup", total=size, unit="bytes") as step:
                sha256 = seal(file, manifest, digest_of(file, step.advance))
                size = file.tell()
        with (
            reporter.step("checking the backup") as step,
            opened(partial, reporter.interruption) as copy,
        ):
            rows = count_rows(copy, table.name)
            notes = check_integrity(copy)
            step.advance(rows)
    return Backup(path, rows, size, sha256, tuple(notes))


@contextmanager
def opened(path: Path, interruption: Interruption) -> Iterator[sqlite3.Connection]:
    """Open a sealed backup, which is never changed."""
    with (
        closing(open_sqlite(uri(path, "mode=ro&immutable=1"))) as connection,
        interruption.canceling(connection.interrupt),
    ):
        yield connection


def count_rows(connection: sqlite3.Connection, table: str) -> int:
    """Return how many rows a table has."""
    (rows,) = connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()
    return int(rows)
