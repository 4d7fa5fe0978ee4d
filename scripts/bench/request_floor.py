#!/usr/bin/env python3
"""Measure the least that a request costs: `GET /api/session_state`, beside stock Quart.

Each application is called in process, without a network, with the cookie of a session. Stock Quart
opens it by its own session interface, and answers once with the same fields, once with a short
text. The numbers are processor time of all threads. Rounds of the applications alternate, and each
ratio is the median of the ratios within a round.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import run_in_environment
from parsers import PrintableParser

parser = PrintableParser(prog="scripts/bench/request_floor.py", description=__doc__)
parser.add_argument("--rounds", type=int, default=100, help="rounds per application (100)")
parser.add_argument("--requests", type=int, default=50, help="requests per round (50)")
parser.add_argument("--strict", action="store_true", help="exit with 1 if the goal is missed")
parser.add_argument("--profile", action="store_true", help="profile our application instead")
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
import pstats
import statistics
import tempfile
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any

from bench.session_cost_applications import (
    Contender,
    application,
    new_login,
    our_application,
    signed,
)
from bench.session_cost_client import AsgiClient
from quart import Quart, session
from quart.sessions import SecureCookieSessionInterface

GOAL = 1.0  # of the time of stock Quart with its session and the same answer
PATH = "/api/session_state"
OURS, SAME_ANSWER = "quart_app", "stock Quart, same answer"
_FIELDS = ("user_id", "platform_connection_id", "created_at", "last_activity", "expires_at")
_WARM_UP_ROUNDS = 5
_PROFILED_REQUESTS = 5000
_PROFILE_LINES = 40


def stock_with_the_same_answer() -> Quart:
    """Return stock Quart with a view that answers with the fields of its session."""
    app = application(SecureCookieSessionInterface())

    @app.get(PATH)
    async def session_state() -> dict[str, Any]:
        return {name: session[name] for name in _FIELDS}

    return app


def bare_view() -> Quart:
    """Return an application that looks at no session."""
    app = Quart(__name__)

    @app.get(PATH)
    async def answer() -> dict[str, Any]:
        return {}

    return app


async def run(folder: Path) -> bool:
    """Measure or profile; return whether the goal is met."""
    cookie = f"session={signed(new_login())}"
    async with AsyncExitStack() as stack:
        ours, stock, bare = (
            await our_application(folder, stack),
            stock_with_the_same_answer(),
            bare_view(),
        )
        contenders = {
            PATH: [
                Contender(OURS, ours, ours, cookie, is_ours=True),
                Contender(SAME_ANSWER, stock, stock, cookie),
                Contender("Quart without a session", bare, bare, cookie),
            ],
            "/": [Contender("stock Quart, short text", stock, stock, cookie)],
        }
        client = AsgiClient(arguments.requests)
        for path, those in contenders.items():
            for each in those:
                status, _, body = await client.answer(each.app, each, path)
                if status != HTTPStatus.OK:
                    sys.exit(f"{each.name}: unexpected answer: {status} {body!r}")
        if arguments.profile:
            await profile(contenders[PATH][0])
            return True
        await measure(client, contenders)
    return report([each for those in contenders.values() for each in those])


async def measure(client: AsgiClient, contenders: dict[str, list[Contender]]) -> None:
    """Call the applications in alternating rounds."""
    gc.collect()
    gc.freeze()
    for number in range(-_WARM_UP_ROUNDS, arguments.rounds):
        for path, those in contenders.items():
            for each in those:
                taken = await client.seconds_a_request(each.app, client.scopes(each, path))
                if number >= 0:
                    each.app_seconds.append(taken)


def report(contenders: list[Contender]) -> bool:
    """Print the table; return whether the goal is met."""
    print(
        f"µs per request, medians of {arguments.rounds} rounds of {arguments.requests} requests\n"
    )
    print(f"{'':28}{'µs':>8}{'quart_app/this':>18}")
    (ours,) = [each for each in contenders if each.is_ours]
    ratios = {}
    for each in contenders:
        ratios[each.name] = statistics.median(
            our / their for our, their in zip(ours.app_seconds, each.app_seconds, strict=True)
        )
        median = statistics.median(each.app_seconds) * 1e6
        print(f"{each.name:28}{median:8.1f}{ratios[each.name]:18.3f}")
    is_met = ratios[SAME_ANSWER] < GOAL
    print(
        f"\nGoal: less than {GOAL} of {SAME_ANSWER}."
        f" {'Met' if is_met else 'Missed'}: {ratios[SAME_ANSWER]:.3f}."
    )
    return is_met


async def profile(ours: Contender) -> None:
    """Profile our application and print the most expensive functions."""
    client, profiler = AsgiClient(_PROFILED_REQUESTS), cProfile.Profile()
    scopes = client.scopes(ours, PATH)
    profiler.enable()
    await client.seconds_a_request(ours.app, scopes)
    profiler.disable()
    print(f"{_PROFILED_REQUESTS} requests")
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(_PROFILE_LINES)


with tempfile.TemporaryDirectory(prefix="quart_app-bench-") as temporary:
    is_goal_met = asyncio.run(run(Path(temporary)))
sys.exit(1 if arguments.strict and not is_goal_met else 0)
