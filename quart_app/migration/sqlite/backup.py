"""A backup of the whole file, by SQLite's online backup, and what proves it good."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from quart_app.migration.facts import Backup, SessionTable
from quart_app.migration.files import new_file
from quart_app.migration.interruption import Interruption
from quart_app.migration.outcome import Refused
from quart_app.migration.progress import Reporter
from quart_app.migration.sealed_file import digest_of, seal
from quart_app.migration.sqlite.connect import open_sqlite, uri
from quart_app.migration.sqlite.dependents import quoted

_PAGES_AT_ONCE = 4096
_COMPLAINTS = 1000
# What integrity_check says of rows and not of the file: they break a rule of their own table.
_OF_ROWS = re.compile(r"(\S+ value in |CHECK constraint failed in )")


def copy_database(source: sqlite3.Connection, path: Path, title: str, reporter: Reporter) -> None:
    """Copy into an empty file, which is then one file by itself; it is not synced yet.

    The source is no connection that is writing: its backup would never end.
    """
    with (
        reporter.step(title, unit="pages") as step,
        closing(open_sqlite(uri(path, "mode=rw"))) as copy,
    ):
        # A crash in between is of no matter: the file has not its name yet.
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
    """Write it, seal and sync it, then let SQLite check what stands on the disk."""
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
            refuse_damage(copy)
            step.advance(rows)
    return Backup(path, rows, size, sha256)


@contextmanager
def opened(path: Path, interruption: Interruption) -> Iterator[sqlite3.Connection]:
    """Open a sealed backup, of which nothing is ever changed."""
    with (
        closing(open_sqlite(uri(path, "mode=ro&immutable=1"))) as connection,
        interruption.canceling(connection.interrupt),
    ):
        yield connection


def count_rows(connection: sqlite3.Connection, table: str) -> int:
    """Return how many rows a table has."""
    (rows,) = connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()
    return int(rows)


def refuse_damage(connection: sqlite3.Connection) -> None:
    """Raise Refused for a database whose pages or indexes don't fit together."""
    for (said,) in connection.execute(f"PRAGMA integrity_check({_COMPLAINTS})"):
        if said != "ok" and not _OF_ROWS.match(said):
            lines = said.splitlines()
            # A heading, as in "*** in database main ***", says nothing by itself.
            line = next((line for line in lines if not line.startswith("***")), said)
            raise Refused(
                f"The database is damaged: {line}. Repair it first, for example by"
                " `sqlite3 FILE .recover`. The database is as it was."
            )
