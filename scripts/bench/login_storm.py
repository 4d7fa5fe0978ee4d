#!/usr/bin/env python3
"""Measure a login storm: many users log in at once, while others use the site.

Real Hypercorn processes serve on loopback, with SQLite or PostgreSQL. Rounds of three measurements
alternate: how many passwords all cores can compare when they do nothing else, how long logged-in
users wait for /api/session_state when the site is idle, and both while many users log in from
many addresses. The goals are ratios of these, so other load on the machine changes them little.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import ROOT, run_in_environment
from parsers import PrintableParser

parser = PrintableParser(
    prog="scripts/bench/login_storm.py",
    description=__doc__,
)
parser.add_argument("--engine", choices=["sqlite", "postgresql"], default="sqlite")
parser.add_argument("--processes", type=int, default=2, help="Hypercorn processes (2)")
parser.add_argument("--rounds", type=int, default=4, help="rounds of each measurement (4)")
parser.add_argument("--logins", type=int, default=250, help="logins per round, at most (250)")
parser.add_argument("--at-once", type=int, default=200, help="concurrent logins (200)")
parser.add_argument(
    "--within", type=float, default=2, help="seconds until all of those have started (2)"
)
parser.add_argument(
    "--seconds", type=float, default=8, help="seconds until a round starts no more logins (8)"
)
parser.add_argument("--uvloop", action="store_true", help="serve with uvloop")
parser.add_argument("--strict", action="store_true", help="exit with 1 if a goal is missed")
parser.add_argument("--picture", action="store_true", help="redraw docs/images/login_storm.svg")
parser.add_argument("--quick", action="store_true", help="run with tiny counts, as a smoke test")
arguments = parser.parse_args()
if arguments.quick:
    arguments.rounds, arguments.logins, arguments.at_once = 1, 4, 2
    arguments.within, arguments.seconds = 0.1, 0.5
counts = ("processes", "rounds", "logins", "at_once")
if min(getattr(arguments, count) for count in counts) < 1 or arguments.seconds <= arguments.within:
    parser.error("all counts must be 1 or more, and --seconds more than --within")

run_in_environment("requirements-dev.lock")

import asyncio
import multiprocessing
import secrets
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from bench.login_storm_clients import Asked, Compared, Stormed, ask, compare_passwords, storm
from bench.login_storm_picture import percentile, picture
from bench.login_storm_servers import (
    database,
    fill,
    logins_written,
    megabytes,
    processor_seconds,
    served,
)
from sqlalchemy import URL

PICTURE = ROOT / "docs" / "images" / "login_storm.svg"
PASSWORD = secrets.token_urlsafe(16)
GOAL_OF_LIMIT = 0.8
GOAL_OF_IDLE = 3.0
_COMPARE_SECONDS = 2.0  # per round
_IDLE_SECONDS = 3.0  # per round
_WARM_UP_LOGINS = 10  # per process
_WARM_UP_SECONDS = 60.0  # time limit


@dataclass
class Measured:
    """The results of all rounds together."""

    compared: Compared = field(default_factory=Compared)
    idle: Asked = field(default_factory=Asked)
    asked: Asked = field(default_factory=Asked)
    stormed: Stormed = field(default_factory=Stormed)
    # Processor time of all servers, when nobody logs in and in the storm.
    idle_server_seconds: float = 0.0
    server_seconds: float = 0.0
    peak_megabytes: float = 0.0
    grown_megabytes: float = 0.0
    logins_written: int = 0

    @property
    def others_share(self) -> float:
        """Share of all cores that goes to clients, and to servers answering logged-in users."""
        clients = self.stormed.processor_seconds + self.asked.processor_seconds
        return (clients + self._asking_seconds) / (self.stormed.seconds * (os.cpu_count() or 1))

    @property
    def limit(self) -> float:
        """Passwords that the remaining share of the cores could compare per second."""
        return self.compared.number / self.compared.seconds * (1 - self.others_share)

    @property
    def _asking_seconds(self) -> float:
        """Return the servers' time for logged-in users in the storm, at the cost measured idle."""
        return self.idle_server_seconds * len(self.asked.waits) / len(self.idle.waits)

    @property
    def seconds_a_login(self) -> float:
        """Processor time of the servers per login."""
        return (self.server_seconds - self._asking_seconds) / len(self.stormed.waits)

    @property
    def seconds_a_password(self) -> float:
        """Processor time per compared password."""
        return self.compared.processor_seconds / self.compared.number

    @property
    def failures(self) -> int:
        """Logins that were refused, not answered, or not written to the database."""
        answered = self.stormed.statuses[200]
        return len(self.stormed.waits) - answered + abs(answered - self.logins_written)

    @property
    def server_errors(self) -> int:
        """Answers with status 5xx, and missing answers."""
        statuses = self.stormed.statuses + self.asked.statuses
        return sum(n for status, n in statuses.items() if status == 0 or status >= 500)  # noqa: PLR2004


def measure(url: URL, folder: Path) -> Measured:
    """Run the three measurements in alternating rounds."""
    result, users = Measured(), arguments.rounds * arguments.logins
    # Forked before anything else, so that each client measures only its own processor time.
    clients = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))
    with clients, served(url, folder, arguments.processes, uvloop=arguments.uvloop) as servers:
        ports, pids = list(servers), list(servers.values())
        warm_up = range(users, users + _WARM_UP_LOGINS * len(ports))
        first = clients.submit(
            storm, ports, PASSWORD, warm_up, at_once=4, seconds=_WARM_UP_SECONDS
        ).result()
        cookies = first.cookies
        if len(cookies) != len(warm_up):
            sys.exit("Some of the first logins failed, although nothing else was running.")
        resident = [megabytes(pid, "VmRSS") for pid in pids]
        for number in range(arguments.rounds):
            result.compared += clients.submit(compare_passwords, _COMPARE_SECONDS).result()
            began = processor_seconds(pids)
            result.idle += clients.submit(ask, cookies, seconds=_IDLE_SECONDS).result()
            result.idle_server_seconds += processor_seconds(pids) - began

            is_over, began = folder / f"round-{number}-is-over", processor_seconds(pids)
            asking = clients.submit(ask, cookies, until=is_over)
            result.stormed += clients.submit(
                storm,
                ports,
                PASSWORD,
                range(number * arguments.logins, (number + 1) * arguments.logins),
                at_once=arguments.at_once,
                seconds=arguments.seconds,
                within=arguments.within,
            ).result()
            is_over.touch()
            result.asked += asking.result()
            result.server_seconds += processor_seconds(pids) - began
        peaks = [megabytes(pid, "VmHWM") for pid in pids]
    result.peak_megabytes = max(peaks)
    result.grown_megabytes = max(peak - was for peak, was in zip(peaks, resident, strict=True))
    result.logins_written = asyncio.run(logins_written(url)) - len(warm_up)
    return result


def report(result: Measured) -> bool:
    """Print the tables; return whether all goals are met."""
    stormed = result.stormed
    share = stormed.statuses[200] / stormed.seconds / result.limit
    slowdown = percentile(result.asked.waits, 99) / percentile(result.idle.waits, 99)
    print(
        f"{arguments.engine}, {arguments.processes} processes on {os.cpu_count()} cores;"
        f" {len(stormed.waits)} logins, {arguments.at_once} at once, in {stormed.seconds:.1f} s of"
        f" {arguments.rounds} rounds\n"
    )
    print_logins(result, share)
    print_requests(result, slowdown)
    return (
        share >= GOAL_OF_LIMIT
        and slowdown <= GOAL_OF_IDLE
        and result.failures == result.server_errors == 0
    )


def print_logins(result: Measured, share: float) -> None:
    """Print the table of logins; `share` is their rate relative to the limit."""
    stormed = result.stormed
    for words, value, more in (
        ("logins per second", f"{stormed.statuses[200] / stormed.seconds:.1f}", ""),
        (
            "passwords per second, upper limit",
            f"{result.limit:.1f}",
            f"with all cores, except the {result.others_share:.0%} for other work",
        ),
        ("logins, share of that limit", f"{share:.0%}", f"goal: at least {GOAL_OF_LIMIT:.0%}"),
        (
            "ms of CPU per login",
            f"{result.seconds_a_login * 1e3:.1f}",
            "in the servers, without the database",
        ),
        (
            "ms of CPU per password",
            f"{result.seconds_a_password * 1e3:.1f}",
            f"{result.seconds_a_password / result.seconds_a_login:.0%} of the login",
        ),
        ("s to answer a login, p50", f"{percentile(stormed.waits, 50):.1f}", ""),
        ("s to answer a login, p99", f"{percentile(stormed.waits, 99):.1f}", ""),
        (
            "MB resident per process, peak",
            f"{result.peak_megabytes:.0f}",
            f"{result.grown_megabytes:.0f} more than after the warm-up",
        ),
        ("failed logins", f"{result.failures}", "goal: 0"),
        ("5xx or missing answers", f"{result.server_errors}", "goal: 0"),
    ):
        print(f"{words:40}{value:>8}  {more}".rstrip())


def print_requests(result: Measured, slowdown: float) -> None:
    """Print the table of other users' requests; `slowdown` is the ratio of both p99."""
    print(f"\n{'ms to answer /api/session_state':40}{'p50':>8}{'p99':>8}{'max':>8}{'requests':>9}")
    for words, each in (("idle", result.idle), ("in the storm", result.asked)):
        times = [f"{percentile(each.waits, at) * 1e3:8.1f}" for at in (50, 99, 100)]
        print(f"{words:40}{''.join(times)}{len(each.waits):9}")
    print(f"{'p99 in the storm / p99 idle':40}{slowdown:16.1f}  goal: at most {GOAL_OF_IDLE:.0f}")


with (
    tempfile.TemporaryDirectory(prefix="quart_app-bench-") as temporary,
    database(arguments.engine, Path(temporary)) as database_url,
):
    people = arguments.rounds * arguments.logins + _WARM_UP_LOGINS * arguments.processes
    asyncio.run(fill(database_url, people, PASSWORD))
    measured = measure(database_url, Path(temporary))
is_goal_met = report(measured)
if arguments.picture:
    PICTURE.write_text(picture(measured.idle.waits, measured.asked.waits), encoding="utf-8")
    print(f"Wrote {PICTURE.relative_to(ROOT)}.")
sys.exit(1 if arguments.strict and not is_goal_met else 0)
