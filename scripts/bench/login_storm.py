#!/usr/bin/env python3
"""Let many people log in at once, and measure how fast that goes and whether anybody else notices.

Real Hypercorn processes on loopback, over SQLite or PostgreSQL; many users, of many addresses. What
logins are compared with is how many passwords all cores compare that do nothing else, less what the
clients take of them. People who are logged in already ask for /api/session_state all the time, in
the storm and when nobody logs in. Rounds of these three alternate, so that other work of the
machine moves the numbers but hardly the ratios. With --strict it is a failure that a goal is
missed; with --picture the answers' times are drawn.
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
parser.add_argument("--processes", type=int, default=2, help="of Hypercorn (2)")
parser.add_argument("--rounds", type=int, default=4, help="of each measurement (4)")
parser.add_argument("--logins", type=int, default=250, help="of a round, at most (250)")
parser.add_argument("--at-once", type=int, default=200, help="of them under way (200)")
parser.add_argument("--within", type=float, default=2, help="seconds in which those come (2)")
parser.add_argument("--seconds", type=float, default=8, help="of a round, then none begins (8)")
parser.add_argument("--uvloop", action="store_true", help="serve by uvloop")
parser.add_argument("--strict", action="store_true", help="exit with 1 where a goal is missed")
parser.add_argument("--picture", action="store_true", help="draw docs/images/login_storm.svg anew")
parser.add_argument("--quick", action="store_true", help="tiny counts, to see that it still runs")
arguments = parser.parse_args()
if arguments.quick:
    arguments.rounds, arguments.logins, arguments.at_once = 1, 4, 2
    arguments.within, arguments.seconds = 0.1, 1
counts = ("processes", "rounds", "logins", "at_once")
if min(getattr(arguments, count) for count in counts) < 1 or arguments.seconds <= arguments.within:
    parser.error("every count is 1 or more, and --seconds is more than --within")

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
# Of a round.
_COMPARE_SECONDS = 2.0
_IDLE_SECONDS = 3.0
_WARM_UP_LOGINS = 10  # of a process
_PATIENCE_SECONDS = 60.0  # with the first logins of all


@dataclass
class Measured:
    """What came out, of all rounds together."""

    compared: Compared = field(default_factory=Compared)
    idle: Asked = field(default_factory=Asked)
    asked: Asked = field(default_factory=Asked)
    stormed: Stormed = field(default_factory=Stormed)
    # What the servers take of all cores when nobody logs in, and in the storm.
    idle_server_seconds: float = 0.0
    server_seconds: float = 0.0
    peak_megabytes: float = 0.0
    grown_megabytes: float = 0.0
    logins_written: int = 0

    @property
    def others_share(self) -> float:
        """What the clients take of all cores, and the servers for those who only ask."""
        clients = self.stormed.processor_seconds + self.asked.processor_seconds
        return (clients + self._asking_seconds) / (self.stormed.seconds * (os.cpu_count() or 1))

    @property
    def limit(self) -> float:
        """How many passwords a second the rest of the cores would compare."""
        return self.compared.number / self.compared.seconds * (1 - self.others_share)

    @property
    def _asking_seconds(self) -> float:
        """Return what asking costs the servers in the storm: as much as it does without one."""
        return self.idle_server_seconds * len(self.asked.waits) / len(self.idle.waits)

    @property
    def seconds_a_login(self) -> float:
        """What the servers take of a core for a login."""
        return (self.server_seconds - self._asking_seconds) / len(self.stormed.waits)

    @property
    def seconds_a_password(self) -> float:
        """What comparing a password takes of a core."""
        return self.compared.processor_seconds / self.compared.number

    @property
    def failures(self) -> int:
        """How many logins were refused or not answered, or are not in the database."""
        answered = self.stormed.statuses[200]
        return len(self.stormed.waits) - answered + abs(answered - self.logins_written)

    @property
    def server_errors(self) -> int:
        """How many answers were 5xx, or none at all."""
        statuses = self.stormed.statuses + self.asked.statuses
        return sum(n for status, n in statuses.items() if status == 0 or status >= 500)  # noqa: PLR2004


def measure(url: URL, folder: Path) -> Measured:
    """Let rounds of comparing, asking and storming take turns."""
    result, users = Measured(), arguments.rounds * arguments.logins
    # Forked at once, and each measures its own processor time.
    clients = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))
    with clients, served(url, folder, arguments.processes, uvloop=arguments.uvloop) as servers:
        ports, pids = list(servers), list(servers.values())
        warm_up = range(users, users + _WARM_UP_LOGINS * len(ports))
        cookies = (
            clients.submit(storm, ports, PASSWORD, warm_up, at_once=4, seconds=_PATIENCE_SECONDS)
            .result()
            .cookies
        )
        if len(cookies) != len(warm_up):
            sys.exit("Not everybody can log in, though nobody else does.")
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
    """Print the tables; tell whether all goals are met."""
    stormed, number = result.stormed, len(result.stormed.waits)
    of_limit = stormed.statuses[200] / stormed.seconds / result.limit
    of_idle = percentile(result.asked.waits, 99) / percentile(result.idle.waits, 99)
    print(
        f"{arguments.engine}, {arguments.processes} processes on {os.cpu_count()} cores; {number}"
        f" logins, {arguments.at_once} at once, in {stormed.seconds:.1f} s of {arguments.rounds}"
        " rounds\n"
    )
    for words, value, more in (
        ("logins a second", f"{stormed.statuses[200] / stormed.seconds:.1f}", ""),
        (
            "passwords compared a second",
            f"{result.limit:.1f}",
            f"on all cores, but for {result.others_share:.0%} that clients take",
        ),
        ("logins of that", f"{of_limit:.0%}", f"goal: at least {GOAL_OF_LIMIT:.0%}"),
        (
            "ms of a core a login, with its password",
            f"{result.seconds_a_login * 1e3:.1f}",
            "of the servers, not the database's",
        ),
        (
            "ms of a core a password",
            f"{result.seconds_a_password * 1e3:.1f}",
            f"{result.seconds_a_password / result.seconds_a_login:.0%} of it",
        ),
        ("s that a login waits, p50", f"{percentile(stormed.waits, 50):.1f}", ""),
        ("s that a login waits, p99", f"{percentile(stormed.waits, 99):.1f}", ""),
        (
            "MB resident in a process, peak",
            f"{result.peak_megabytes:.0f}",
            f"{result.grown_megabytes:.0f} more than when a few had logged in",
        ),
        ("logins that failed", f"{result.failures}", "goal: 0"),
        ("answers that are 5xx, or none", f"{result.server_errors}", "goal: 0"),
    ):
        print(f"{words:40}{value:>8}  {more}".rstrip())
    print(
        f"\n{'ms until /api/session_state answers':40}{'p50':>8}{'p99':>8}{'most':>8}{'asked':>8}"
    )
    for words, each in (("nobody logs in", result.idle), ("in the storm", result.asked)):
        times = [f"{percentile(each.waits, at) * 1e3:8.1f}" for at in (50, 99, 100)]
        print(f"{words:40}{''.join(times)}{len(each.waits):8}")
    words = "p99 in the storm, times that of idle"
    print(f"{words:40}{of_idle:16.1f}  goal: at most {GOAL_OF_IDLE:.0f}")
    return (
        of_limit >= GOAL_OF_LIMIT
        and of_idle <= GOAL_OF_IDLE
        and result.failures == result.server_errors == 0
    )


with (
    tempfile.TemporaryDirectory(prefix="quart_app-bench-") as temporary,
    database(arguments.engine, Path(temporary)) as database_url,
):
    people = arguments.rounds * arguments.logins + _WARM_UP_LOGINS * arguments.processes
    asyncio.run(fill(database_url, people, PASSWORD))
    what_came_out = measure(database_url, Path(temporary))
is_goal_met = report(what_came_out)
if arguments.picture:
    drawn = picture(what_came_out.idle.waits, what_came_out.asked.waits)
    PICTURE.write_text(drawn, encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)} is drawn.")
sys.exit(1 if arguments.strict and not is_goal_met else 0)
