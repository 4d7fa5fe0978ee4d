#!/usr/bin/env python3
"""Measure the cost of validating a session in a request, beside other session libraries.

Each application is called in process, without a network, and compared with the same application
with a session that costs nothing. The difference is the cost, in processor time of all threads.
Rounds of the two alternate, and the result is the median of their differences: a busy machine
changes the microseconds, but hardly the ratios.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import run_in_environment
from parsers import PrintableParser

parser = PrintableParser(
    prog="scripts/bench/session_cost.py",
    description=__doc__,
)
parser.add_argument("--rounds", type=int, default=400, help="rounds per application (400)")
parser.add_argument("--requests", type=int, default=20, help="requests per round (20)")
parser.add_argument("--seconds", type=float, default=50, help="time limit for all rounds (50)")
parser.add_argument("--strict", action="store_true", help="exit with 1 if the goal is missed")
parser.add_argument("--profile", action="store_true", help="profile our session instead")
parser.add_argument("--quick", action="store_true", help="run with tiny counts, as a smoke test")
arguments = parser.parse_args()
if arguments.quick:
    arguments.rounds, arguments.requests = 1, 1
if arguments.rounds < 1 or arguments.requests < 1:
    parser.error("--rounds and --requests must be 1 or more")

run_in_environment("requirements-dev.lock")

import asyncio
import cProfile
import gc
import math
import pstats
import statistics
import tempfile
import time
from collections.abc import Sequence

from bench.session_cost_applications import USER_ID, Contender, contenders
from bench.session_cost_client import AsgiClient

GOAL = 0.15  # of the cost of stock Quart's session
WARM_UP_ROUNDS = 10
_PROFILED_REQUESTS = 5000
_PROFILE_LINES = 30


async def check(client: AsgiClient, contender: Contender) -> None:
    """Verify that the application finds a valid session and sets no cookie."""
    for app in (contender.app, contender.baseline):
        status, headers, body = await client.answer(app, contender)
        if (status, body) != (200, f"user {USER_ID}".encode()) or b"set-cookie" in headers:
            sys.exit(f"{contender.name}: unexpected answer: {status} {headers} {body!r}")
        if contender.is_ours and app is contender.app and headers.get(b"vary") != b"Cookie":
            sys.exit(f"{contender.name}: the request did not use our session.")


async def run(folder: Path) -> bool:
    """Measure or profile; return whether the goal is met."""
    client = AsgiClient(arguments.requests)
    async with contenders(folder) as all_contenders:
        for contender in all_contenders:
            if contender.name == "Starlette":  # only Starlette has to create its cookie itself
                _, headers, _ = await client.answer(contender.app, contender, "/login")
                contender.cookie = headers[b"set-cookie"].decode().partition(";")[0]
            await check(client, contender)
        if arguments.profile:
            await profile(all_contenders[0])
            return True
        await measure(client, all_contenders)
    return report(all_contenders)


async def measure(client: AsgiClient, all_contenders: Sequence[Contender]) -> None:
    """Measure the applications and their baselines in alternating rounds."""
    gc.collect()
    gc.freeze()  # so that collections between rounds skip the objects that exist now
    ends = time.monotonic() + arguments.seconds
    for number in range(-WARM_UP_ROUNDS, arguments.rounds):
        if number > 0 and time.monotonic() >= ends:
            break
        for contender in all_contenders:
            turns = [
                (contender.app, contender.app_seconds),
                (contender.baseline, contender.baseline_seconds),
            ]
            for app, seconds in turns if number % 2 else reversed(turns):
                taken = await client.seconds_a_request(app, client.scopes(contender))
                if number >= 0:
                    seconds.append(taken)


def report(all_contenders: Sequence[Contender]) -> bool:
    """Print the table; return whether the goal is met."""
    (stock,) = [each for each in all_contenders if each.name == "stock Quart"]
    of_stock = statistics.median(stock.costs)
    print(
        f"µs per request, medians of {len(stock.costs)} rounds of {arguments.requests} requests;"
        " ± is the 95 % confidence interval\n"
    )
    print(f"{'':40}{'with':>9}{'without':>9}{'cost':>9}{'±':>7}{'vs stock Quart':>17}")
    for each in all_contenders:
        cost = statistics.median(each.costs)
        print(
            f"{each.name:40}{statistics.median(each.app_seconds) * 1e6:9.1f}"
            f"{statistics.median(each.baseline_seconds) * 1e6:9.1f}{cost * 1e6:9.2f}"
            f"{_uncertainty(each.costs) * 1e6:7.2f}{cost / of_stock:17.3f}"
        )
    worst = max(statistics.median(each.costs) for each in all_contenders if each.is_ours) / of_stock
    is_met = worst <= GOAL
    print(
        f"\nGoal: our session costs at most {GOAL} of stock Quart's."
        f" {'Met' if is_met else 'Missed'}: {worst:.3f} (the largest of ours)."
    )
    return is_met


def _uncertainty(costs: Sequence[float]) -> float:
    """Return half the width of the median's 95 % confidence interval, from order statistics."""
    ordered, half = sorted(costs), 0.98 * math.sqrt(len(costs))
    low = max(0, math.floor(len(costs) / 2 - half))
    high = min(len(costs) - 1, math.ceil(len(costs) / 2 + half))
    return (ordered[high] - ordered[low]) / 2


async def profile(ours: Contender) -> None:
    """Profile our application and print the most expensive functions."""
    client, profiler = AsgiClient(_PROFILED_REQUESTS), cProfile.Profile()
    scopes = client.scopes(ours)
    profiler.enable()
    await client.seconds_a_request(ours.app, scopes)
    profiler.disable()
    stats = pstats.Stats(profiler).strip_dirs().sort_stats("tottime")
    print(f"{_PROFILED_REQUESTS} requests: first the session's own modules, then all modules.")
    stats.print_stats(r"session|revocations", _PROFILE_LINES)
    stats.print_stats(_PROFILE_LINES)


with tempfile.TemporaryDirectory(prefix="quart_app-bench-") as temporary:
    is_goal_met = asyncio.run(run(Path(temporary)))
sys.exit(1 if arguments.strict and not is_goal_met else 0)
