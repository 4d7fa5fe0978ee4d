#!/usr/bin/env python3
"""Simulate the revocation list of a very large site, and print what a process needs for it.

By default: 100 million users and 5 million logouts a day. A sample of the logouts goes through the
real revocation list, day by day until its length is steady; the sample's numbers are then scaled.
No database is used; scripts/bench/revocation_list.py measures how the list is loaded from one.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import run_in_environment
from parsers import PrintableParser

parser = PrintableParser(prog="scripts/bench/capacity.py", description=__doc__)
parser.add_argument("--users", type=int, default=100_000_000, help="users (100000000)")
parser.add_argument("--logouts", type=int, default=5_000_000, help="logouts a day (5000000)")
parser.add_argument("--sample", type=int, default=50, help="simulate one logout of this many (50)")
parser.add_argument("--peak", type=float, default=4, help="busiest second by the average one (4)")
parser.add_argument("--quick", action="store_true", help="run with tiny counts, as a smoke test")
arguments = parser.parse_args()
if arguments.quick:
    arguments.sample = 50_000
if min(arguments.users, arguments.logouts, arguments.sample, arguments.peak) < 1:
    parser.error("--users, --logouts, --sample and --peak must be 1 or more")
if arguments.logouts < arguments.sample:
    parser.error("--sample must not be larger than --logouts")

run_in_environment("requirements-dev.lock")

import gc
import random
import secrets
import time
import tracemalloc
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from quart_app.session.follower import KEPT_AFTER_EXPIRY
from quart_app.session.revocations import RevocationList, RevocationRow
from quart_app.settings import Settings

_DAY = timedelta(days=1)
_VERDICTS = 100_000
_REFUSE_AFTER = Settings.refuse_after
_GIGABYTE = 1e9


@dataclass(frozen=True, kw_only=True)
class Site:
    """How people of a site log out: the share with "keep me logged in", and how long it lasts."""

    name: str
    remembered: float
    lifetime: timedelta = Settings.session_absolute
    remembered_lifetime: timedelta = Settings.session_remember_absolute

    @property
    def longest(self) -> timedelta:
        """Return how long the longest session lasts."""
        return self.remembered_lifetime if self.remembered else self.lifetime


SITES = [
    Site(name="nobody is remembered", remembered=0.0),
    Site(name="half are remembered", remembered=0.5),
    Site(name="half, for 7 days", remembered=0.5, remembered_lifetime=timedelta(days=7)),
]


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """The steady list of a sample: its length, and the costs of one revocation in it."""

    length: int
    bytes_each: float  # 0 unless traced, which makes the rest several times slower
    apply_seconds_each: float
    longest_pause_seconds: float  # while the list forgets what expired
    verdict_seconds: float
    empty_verdict_seconds: float  # in an empty list


def logouts_of_a_day(site: Site, day: datetime, number: int) -> list[RevocationRow]:
    """Return revocations of sessions that are ended at any time of their lives."""
    rows = []
    for seq in range(number):
        is_remembered = random.random() < site.remembered  # noqa: S311 a simulation
        lifetime = site.remembered_lifetime if is_remembered else site.lifetime
        left = random.random() * lifetime  # noqa: S311
        at = day + random.random() * _DAY  # noqa: S311
        rows.append(RevocationRow(seq, secrets.token_urlsafe(16), None, None, None, at + left))
    return rows


def simulate(site: Site, logouts_a_day: int, *, trace: bool) -> Simulated:
    """Run the real list until what is forgotten a day equals what is added."""
    revocations = RevocationList(refuse_after=_REFUSE_AFTER)
    day, apply_seconds, applied, longest_pause = datetime.now(UTC), 0.0, 0, 0.0
    if trace:
        tracemalloc.start()
    for _ in range((site.longest + KEPT_AFTER_EXPIRY) // _DAY + 2):
        rows = logouts_of_a_day(site, day, logouts_a_day)
        began = time.perf_counter()
        revocations.apply(rows)
        apply_seconds += time.perf_counter() - began
        applied += len(rows)
        day += _DAY
        longest_pause, began = 0.0, time.perf_counter()
        for _ in revocations.forget(day - KEPT_AFTER_EXPIRY):
            longest_pause = max(longest_pause, time.perf_counter() - began)
            began = time.perf_counter()
    del rows
    gc.collect()
    traced = tracemalloc.get_traced_memory()[0] if trace else 0
    tracemalloc.stop()
    length = len(revocations)
    return Simulated(
        length=length,
        bytes_each=traced / length,
        apply_seconds_each=apply_seconds / applied,
        longest_pause_seconds=longest_pause,
        verdict_seconds=verdict_seconds(revocations, day),
        empty_verdict_seconds=verdict_seconds(RevocationList(refuse_after=_REFUSE_AFTER), day),
    )


def verdict_seconds(revocations: RevocationList, now: datetime) -> float:
    """Return how long the list takes to find that a session was not ended."""
    revocations.confirm(revocations.read_clocks())
    began = time.perf_counter()
    for _ in range(_VERDICTS):
        revocations.is_alive("absent", 1, 0, now)
    return (time.perf_counter() - began) / _VERDICTS


def report(site: Site) -> None:
    """Print what the whole site needs, scaled from its sample."""
    logouts = arguments.logouts // arguments.sample
    found = simulate(site, logouts, trace=False)
    bytes_each = simulate(site, max(1, logouts // 10), trace=True).bytes_each
    length = found.length * arguments.sample
    print(
        f"\n{site.name}\n"
        f"  simulated list               {found.length:14,} revocations\n"
        f"  list of the whole site       {length:14,} revocations\n"
        f"  memory of one process        {length * bytes_each / _GIGABYTE:14.1f} GB,"
        f" {bytes_each:.0f} bytes each\n"
        f"  to add them at the start     {length * found.apply_seconds_each:14.0f} s"
        " of a core, besides reading them\n"
        f"  longest pause to forget      {found.longest_pause_seconds * 1e3:14.1f} ms"
        " in the simulated list\n"
        f"  a verdict                    {found.verdict_seconds * 1e6:14.2f} µs,"
        f" {found.verdict_seconds / found.empty_verdict_seconds:.2f} times that of an empty list",
        flush=True,
    )


def main() -> None:
    """Print the feed's rates, then each site."""
    average = arguments.logouts / _DAY.total_seconds()
    share = arguments.logouts / arguments.users
    print(
        f"{arguments.users:,} users, {arguments.logouts:,} logouts a day, {share:.1%} of the"
        f" users; one of {arguments.sample:,} is simulated.\n"
        f"Each process reads {average:.0f} revocations a second,"
        f" {average * arguments.peak:.0f} in the busiest second."
    )
    for site in SITES:
        report(site)


main()
