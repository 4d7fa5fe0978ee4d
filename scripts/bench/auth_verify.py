#!/usr/bin/env python3
"""Measure what /auth/verify costs: in process, and behind Debian's nginx.

In process, it is compared with a Quart view that only answers 204, in processor time; rounds of the
two alternate. Behind nginx, requests for a small file alternate between a location with
`auth_request` and one without, on kept connections. The difference of the medians is what a client
waits for the verdict. The processor time is that of our server, for each verdict.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import run_in_environment
from parsers import PrintableParser

parser = PrintableParser(prog="scripts/bench/auth_verify.py", description=__doc__)
parser.add_argument("--rounds", type=int, default=100, help="rounds in process (100)")
parser.add_argument("--requests", type=int, default=4000, help="requests behind nginx (4,000)")
parser.add_argument("--uvloop", action="store_true", help="serve on uvloop behind nginx")
parser.add_argument("--strict", action="store_true", help="exit with 1 if a goal is missed")
parser.add_argument("--quick", action="store_true", help="run with tiny counts, as a smoke test")
arguments = parser.parse_args()
if arguments.quick:
    arguments.rounds, arguments.requests = 1, 20
if arguments.rounds < 1 or arguments.requests < 1:
    parser.error("--rounds and --requests must be 1 or more")

run_in_environment("requirements-dev.lock")

import asyncio
import statistics
import tempfile
from contextlib import AsyncExitStack
from typing import NamedTuple

from bench.auth_verify_servers import Measured, behind_nginx
from bench.session_cost_applications import Contender, new_login, our_application, signed
from bench.session_cost_client import AsgiClient
from quart import Quart

PATH = "/auth/verify"
MAX_OF_BARE_VIEW = 0.25
MAX_ADDED_MILLISECONDS = 1.0
MAX_PROCESSOR_MILLISECONDS = 0.4
_REQUESTS_PER_ROUND = 50
_WARM_UP_ROUNDS = 5


class Goal(NamedTuple):
    """A measured value and its limit."""

    name: str
    value: float
    limit: float


def bare_view() -> Quart:
    """Return an application with one view, which looks at no session."""
    app = Quart(__name__)

    @app.get(PATH)
    async def answer() -> tuple[str, int]:
        return "", 204

    return app


async def in_process(folder: Path) -> Goal:
    """Compare the processor time with that of a bare view, and print both."""
    client, cookie = AsgiClient(_REQUESTS_PER_ROUND), f"session={signed(new_login())}"
    async with AsyncExitStack() as stack:
        ours, bare = await our_application(folder, stack), bare_view()
        contenders = [
            Contender("Quart view that answers 204", bare, bare, cookie),
            Contender(PATH, ours, ours, cookie),
            Contender(f"{PATH}, new header", ours, ours, cookie, has_unique_headers=True),
            Contender(f"{PATH}, not logged in", ours, ours, "theme=dark"),
        ]
        for each, status in zip(contenders, [204, 204, 204, 401], strict=True):
            answered, headers, _ = await client.answer(each.app, each, PATH)
            if answered != status or (each.app is ours) != (b"x-user-id" in headers):
                sys.exit(f"{each.name}: unexpected answer: {answered} {headers}")
        for number in range(-_WARM_UP_ROUNDS, arguments.rounds):
            for each in contenders:
                taken = await client.seconds_a_request(each.app, client.scopes(each, PATH))
                if number >= 0:
                    each.app_seconds.append(taken)
    medians = [statistics.median(each.app_seconds) for each in contenders]
    print(f"µs of processor time per request in process, medians of {arguments.rounds} rounds\n")
    for each, median in zip(contenders, medians, strict=True):
        print(f"{each.name:32}{median * 1e6:9.1f}{median / medians[0]:8.3f}")
    return Goal("of a bare Quart view", medians[1] / medians[0], MAX_OF_BARE_VIEW)


def report(measured: Measured) -> list[Goal]:
    """Print what was measured behind nginx, and return its goals."""
    with_verdict, without = map(statistics.median, (measured.guarded, measured.plain))
    print(f"\nBehind nginx, {arguments.requests} requests each, medians in ms\n")
    print(f"{'a file, without auth_request':32}{without * 1e3:9.3f}")
    print(f"{'the same, with auth_request':32}{with_verdict * 1e3:9.3f}")
    print(f"{'processor time of a verdict':32}{measured.processor_seconds * 1e3:9.3f}")
    print(f"{'the same of GET /healthz':32}{measured.processor_seconds_of_healthz * 1e3:9.3f}")
    return [
        Goal("ms added at the median", (with_verdict - without) * 1e3, MAX_ADDED_MILLISECONDS),
        Goal("ms of processor time", measured.processor_seconds * 1e3, MAX_PROCESSOR_MILLISECONDS),
    ]


with tempfile.TemporaryDirectory(prefix="quart_app-bench-") as temporary:
    folder = Path(temporary)
    folder.chmod(0o755)  # nginx reads the file as another user
    goals = [asyncio.run(in_process(folder))]
    measured = behind_nginx(folder, arguments.requests, uvloop=arguments.uvloop)
    if measured is not None:
        goals += report(measured)
print()
for goal in goals:
    verdict = "Met" if goal.value <= goal.limit else "Missed"
    print(f"Goal: at most {goal.limit:g} {goal.name}. {verdict}: {goal.value:.3f}.")
sys.exit(1 if arguments.strict and any(goal.value > goal.limit for goal in goals) else 0)
