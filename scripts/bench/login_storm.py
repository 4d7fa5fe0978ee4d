#!/usr/bin/env python3
"""Measure a login storm: many users log in at once, while others use the site.

Real Hypercorn processes serve on loopback, with SQLite or PostgreSQL. Rounds of three measurements
alternate: how many passwords all cores can compare when they do nothing else, how long logged-in
users wait for /api/session_state when the site is idle, and both while many users log in from
many addresses. With --strict, an older revision of the application has a login storm in each
round, too. The goals are ratios of these, so other load on the machine changes them little.
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
parser.add_argument("--rounds", type=int, default=8, help="rounds of each measurement (8)")
parser.add_argument("--logins", type=int, default=250, help="logins per round, at most (250)")
parser.add_argument("--at-once", type=int, default=200, help="concurrent logins (200)")
parser.add_argument(
    "--within", type=float, default=2, help="seconds until all of those have started (2)"
)
parser.add_argument(
    "--seconds", type=float, default=8, help="seconds until a round starts no more logins (8)"
)
parser.add_argument("--uvloop", action="store_true", help="serve with uvloop")
parser.add_argument(
    "--strict",
    action="store_true",
    help="also measure an older revision in each round, and exit with 1 if a goal is missed",
)
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
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager

from bench.login_storm_baseline import REVISION, extracted
from bench.login_storm_baseline import fill as fill_baseline
from bench.login_storm_clients import Asked, Stormed, ask, compare_passwords, storm
from bench.login_storm_picture import picture
from bench.login_storm_results import Measured, print_logins, print_requests
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
USERS = arguments.rounds * arguments.logins
_COMPARE_SECONDS = 2.0  # per round
_IDLE_SECONDS = 3.0  # per round
_WARM_UP_LOGINS = 10  # per process
_WARM_UP_SECONDS = 60.0  # time limit


class Site:
    """Server processes with a database of their own, the clients that log in, and a cookie each."""

    def __init__(self, clients: Executor, servers: dict[int, int], folder: Path) -> None:
        self._clients, self._folder = clients, folder
        self.ports, self.process_ids = list(servers), list(servers.values())
        self.warm_up = range(USERS, USERS + _WARM_UP_LOGINS * len(servers))
        first = clients.submit(
            storm, self.ports, PASSWORD, self.warm_up, at_once=4, seconds=_WARM_UP_SECONDS
        ).result()
        if len(first.cookies) != len(self.warm_up):
            sys.exit("Some of the first logins failed, although nothing else was running.")
        self.cookies = first.cookies

    def storm(self, number: int) -> tuple[Stormed, Asked]:
        """Log in the users of a round, and meanwhile ask for the state of logged-in users."""
        is_over = self._folder / f"round-{number}-is-over"
        asking = self._clients.submit(ask, self.cookies, until=is_over)
        stormed = self._clients.submit(
            storm,
            self.ports,
            PASSWORD,
            range(number * arguments.logins, (number + 1) * arguments.logins),
            at_once=arguments.at_once,
            seconds=arguments.seconds,
            within=arguments.within,
        ).result()
        is_over.touch()
        return stormed, asking.result()


def measure(clients: Executor, site: Site, baseline: Site | None) -> Measured:
    """Run the measurements in alternating rounds."""
    result = Measured()
    resident = [megabytes(pid, "VmRSS") for pid in site.process_ids]
    for number in range(arguments.rounds):
        if baseline is not None:
            began = processor_seconds(baseline.process_ids)
            stormed, asked = baseline.storm(number)
            result.add_baseline(stormed, asked, processor_seconds(baseline.process_ids) - began)
        result.compared += clients.submit(compare_passwords, _COMPARE_SECONDS).result()
        began = processor_seconds(site.process_ids)
        result.idle += clients.submit(ask, site.cookies, seconds=_IDLE_SECONDS).result()
        result.idle_server_seconds += processor_seconds(site.process_ids) - began

        began = processor_seconds(site.process_ids)
        stormed, asked = site.storm(number)
        result.stormed += stormed
        result.asked += asked
        result.rates.append(stormed.statuses[200] / stormed.seconds)
        result.server_seconds += processor_seconds(site.process_ids) - began
    peaks = [megabytes(pid, "VmHWM") for pid in site.process_ids]
    result.peak_megabytes = max(peaks)
    result.grown_megabytes = max(peak - was for peak, was in zip(peaks, resident, strict=True))
    return result


@contextmanager
def opened(clients: Executor, folder: Path, root: Path = ROOT) -> Iterator[tuple[Site, URL]]:
    """Serve the application in `root` with a new database in `folder`."""
    folder.mkdir(exist_ok=True)
    users = USERS + _WARM_UP_LOGINS * arguments.processes
    with database(arguments.engine, folder) as url:
        if root == ROOT:
            asyncio.run(fill(url, users, PASSWORD))
        else:
            fill_baseline(root, url, users, PASSWORD)
        with served(
            url, folder, arguments.processes, uvloop=arguments.uvloop, root=root
        ) as servers:
            yield Site(clients, servers, folder), url


def run(folder: Path) -> Measured:
    """Return the results, of both revisions with --strict."""
    with ExitStack() as stack:
        # Forked before anything else, so that each client measures only its own processor time.
        fork = multiprocessing.get_context("fork")
        clients = stack.enter_context(ProcessPoolExecutor(2, mp_context=fork))
        for ready in [clients.submit(os.getpid) for _ in range(2)]:
            ready.result()
        baseline = None
        if arguments.strict:
            root = extracted(folder / REVISION)
            baseline, _ = stack.enter_context(opened(clients, folder / "baseline", root))
        site, url = stack.enter_context(opened(clients, folder))
        result = measure(clients, site, baseline)
        result.logins_written = asyncio.run(logins_written(url)) - len(site.warm_up)
    return result


with tempfile.TemporaryDirectory(prefix="quart_app-bench-") as temporary:
    measured = run(Path(temporary))
print(
    f"{arguments.engine}, {arguments.processes} processes on {os.cpu_count()} cores;"
    f" {len(measured.stormed.waits)} logins, {arguments.at_once} at once, in"
    f" {measured.stormed.seconds:.1f} s of {arguments.rounds} rounds\n"
)
print_logins(measured)
print_requests(measured)
if arguments.picture:
    PICTURE.write_text(picture(measured.idle.waits, measured.asked.waits), encoding="utf-8")
    print(f"Wrote {PICTURE.relative_to(ROOT)}.")
sys.exit(1 if arguments.strict and not measured.is_goal_met else 0)
