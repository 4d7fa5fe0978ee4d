#!/usr/bin/env python3
"""Measure what a page costs, and its parts: compression, queries, rendering and the request.

Pages are asked for in process, without a network, by a user with five sessions and three accounts.
The numbers are processor time of all threads. Rounds alternate, and each number is a median.
Compression is what a page costs more for a browser that accepts gzip. Queries are the use cases of
the page, called without a request. The request is one that answers from the cookie alone. Rendering
is the rest.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import run_in_environment
from parsers import PrintableParser

parser = PrintableParser(prog="scripts/bench/pages.py", description=__doc__)
parser.add_argument("--rounds", type=int, default=40, help="rounds of each page (40)")
parser.add_argument("--requests", type=int, default=10, help="requests per round (10)")
parser.add_argument("--profile", metavar="PATH", help="profile the page at this path instead")
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
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any, cast

from bench.session_cost_applications import Contender, our_application, signed
from bench.session_cost_client import BROWSER, AsgiClient
from callers import caller_of
from demo import PASSWORD, USERNAME, fill

from quart_app.services import Services
from quart_app.services.caller import Caller

FLOOR = "/api/session_state"
_SESSIONS = 5
_WARM_UP_ROUNDS = 3
_PROFILED_REQUESTS = 1000
_PROFILE_LINES = 45
Ask = Callable[[], Awaitable[Any]]


async def logged_in(services: Services) -> tuple[Caller, str]:
    """Create a user with accounts and sessions; return the caller and cookie of the last one."""
    await fill(services)
    for _ in range(_SESSIONS):
        issued = await services.accounts.log_in(
            Caller.command_line(),
            login_name=USERNAME,
            password=PASSWORD,
            remember=False,
            new_password=None,
            replaced=[],
        )
    caller = caller_of(issued.user_id, sid=issued.sid)
    return caller, f"session={signed(issued.payload())}"


def use_cases(services: Services, caller: Caller) -> dict[str, list[Ask]]:
    """Return the use cases of each page: those of every page, and its own."""

    def every_page() -> Awaitable[Any]:
        return services.page_contexts.load(caller, None)

    return {
        "/": [every_page],
        "/devices": [every_page, lambda: services.devices.logins_of(caller)],
        "/platforms": [every_page, lambda: services.platforms.list_of(caller)],
    }


async def seconds_of(asked: list[Ask]) -> float:
    """Return the processor time of these use cases, averaged over a round."""
    gc.collect()
    gc.disable()
    began = time.process_time()
    for _ in range(arguments.requests):
        for ask in asked:
            await ask()
    seconds = time.process_time() - began
    gc.enable()
    return float(seconds / arguments.requests)


async def measure(folder: Path) -> None:
    """Measure all pages and print the table, or profile one."""
    async with AsyncExitStack() as stack:
        app = await our_application(folder, stack)
        services = cast(Services, app.extensions["quart_app"])
        caller, cookie = await logged_in(services)
        plain = [header for header in BROWSER if header[0] != b"accept-encoding"]
        contenders = {
            "compressed": Contender("compressed", app, app, cookie),
            "plain": Contender(
                "plain", app, app, "", {"headers": [*plain, (b"cookie", cookie.encode())]}
            ),
        }
        client = AsgiClient(arguments.requests)
        if arguments.profile:
            await profile(app, contenders["compressed"])
            return
        pages = use_cases(services, caller)
        for path in pages:
            status, headers, _ = await client.answer(app, contenders["compressed"], path)
            if status != HTTPStatus.OK or headers.get(b"content-encoding") != b"gzip":
                sys.exit(f"{path}: unexpected answer: {status} {headers}")
        seconds: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        gc.collect()
        gc.freeze()
        for number in range(-_WARM_UP_ROUNDS, arguments.rounds):
            taken = {
                (FLOOR, "plain"): await client.seconds_a_request(
                    app, client.scopes(contenders["plain"], FLOOR)
                )
            }
            for path, asked in pages.items():
                for name, each in contenders.items():
                    taken[path, name] = await client.seconds_a_request(
                        app, client.scopes(each, path)
                    )
                taken[path, "queries"] = await seconds_of(asked)
            if number >= 0:
                for key, value in taken.items():
                    seconds[key].append(value)
        report(seconds, list(pages))


def report(seconds: dict[tuple[str, str], list[float]], paths: list[str]) -> None:
    """Print the table: milliseconds, and the page in requests that only open their session."""
    median = {key: statistics.median(values) * 1000 for key, values in seconds.items()}
    floor = median[FLOOR, "plain"]
    print(f"ms per page, medians of {arguments.rounds} rounds of {arguments.requests} requests\n")
    print(
        f"{'':12}{'page':>8}{'compression':>13}{'queries':>9}{'rendering':>11}{'request':>9}"
        f"{'page/request':>14}"
    )
    for path in paths:
        whole, plain, queries = (median[path, name] for name in ("compressed", "plain", "queries"))
        print(
            f"{path:12}{whole:8.2f}{whole - plain:13.2f}{queries:9.2f}"
            f"{plain - queries - floor:11.2f}{floor:9.2f}{whole / floor:14.1f}"
        )


async def profile(app: Any, contender: Contender) -> None:
    """Profile a page and print the most expensive functions."""
    client, profiler = AsgiClient(_PROFILED_REQUESTS), cProfile.Profile()
    scopes = client.scopes(contender, arguments.profile)
    profiler.enable()
    await client.seconds_a_request(app, scopes)
    profiler.disable()
    print(f"{_PROFILED_REQUESTS} requests")
    stats = pstats.Stats(profiler).strip_dirs()
    stats.sort_stats("tottime").print_stats(_PROFILE_LINES)
    stats.sort_stats("cumulative").print_stats(_PROFILE_LINES)


with tempfile.TemporaryDirectory(prefix="quart_app-bench-") as temporary:
    asyncio.run(measure(Path(temporary)))
