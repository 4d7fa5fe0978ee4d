#!/usr/bin/env python3
"""Measure the start: from `python` to the first answer, and the memory of the idle process.

Our application is compared with stock Quart that loads the same dependencies, and with stock Quart
that loads nothing else. All run under the same Hypercorn. Rounds of them alternate, and each ratio
is the median of the ratios within a round.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import run_in_environment
from parsers import PrintableParser

parser = PrintableParser(prog="scripts/bench/start_up.py", description=__doc__)
parser.add_argument("--rounds", type=int, default=20, help="starts of each application (20)")
parser.add_argument("--strict", action="store_true", help="exit with 1 if the goal is missed")
parser.add_argument("--quick", action="store_true", help="start each once, as a smoke test")
arguments = parser.parse_args()
if arguments.quick:
    arguments.rounds = 1
if arguments.rounds < 1:
    parser.error("--rounds must be 1 or more")

run_in_environment("requirements-dev.lock")

import asyncio
import http.client
import os
import secrets
import socket
import statistics
import subprocess
import tempfile
import time
from typing import NamedTuple

from bench.login_storm_servers import megabytes
from cryptography.fernet import Fernet
from environment import ROOT

from quart_app.settings import read_database_url
from quart_app.storage.schema import upgrade_schema

GOAL = 1.5  # of the time of stock Quart with the same dependencies
_PATH = "/api/session_state"
_IDLE_SECONDS = 0.5
_PATIENCE_SECONDS = 60
OURS = "quart_app"
SAME_DEPENDENCIES = "stock Quart, same dependencies"
APPLICATIONS = {
    OURS: "quart_app.app:create_app()",
    SAME_DEPENDENCIES: "bench.start_up_stock:create_app()",
    "stock Quart alone": "bench.start_up_stock:create_bare_app()",
}


class Start(NamedTuple):
    """The time until the first answer after one start, and the memory of the idle process."""

    wall_seconds: float
    processor_seconds: float
    megabytes: float


def start(app: str, folder: Path, environ: dict[str, str]) -> Start:
    """Start a server process, ask it once, and stop it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        (folder / "server.log").open("wb") as log,
    ):
        began = time.perf_counter()
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "hypercorn", "--config", str(ROOT / "hypercorn.toml")),
                *("--bind", f"fd://{listener.fileno()}", app),
            ],
            cwd=folder,
            env=environ,
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            ask(listener.getsockname()[1], folder / "server.log")
            wall_seconds = time.perf_counter() - began
            spent = processor_seconds(process.pid)
            time.sleep(_IDLE_SECONDS)
            return Start(wall_seconds, spent, megabytes(process.pid, "VmRSS"))
        finally:
            process.terminate()
            process.wait()


def ask(port: int, log: Path) -> None:
    """Wait for the answer. The kernel accepts the connection before the server does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", _PATH)
        connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"The server did not answer: {error}\n{log.read_text()}")
    finally:
        connection.close()


def processor_seconds(process_id: int) -> float:
    """Return the processor time of all threads of a process so far."""
    threads = Path(f"/proc/{process_id}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def measure(folder: Path) -> dict[str, list[Start]]:
    """Start the applications in turn. The first start of each is not counted: it compiles."""
    url = f"sqlite:///{folder}/bench.db"
    asyncio.run(upgrade_schema(read_database_url(url)))
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")]),
        "QUART_APP_SECRET_KEY": secrets.token_hex(32),
        "QUART_APP_PLATFORM_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        "QUART_APP_DATABASE_URL": url,
    }
    starts: dict[str, list[Start]] = {name: [] for name in APPLICATIONS}
    for number in range(-1, arguments.rounds):
        for name, app in APPLICATIONS.items():
            result = start(app, folder, environ)
            if number >= 0:
                starts[name].append(result)
    return starts


def report(starts: dict[str, list[Start]]) -> bool:
    """Print the table; return whether the goal is met."""
    print(f"From python to the first answer: medians of {arguments.rounds} starts\n")
    print(f"{'':32}{'processor':>12}{'elapsed':>12}{'idle memory':>14}")
    for name, results in starts.items():
        median = Start(*map(statistics.median, zip(*results, strict=True)))
        print(
            f"{name:32}{median.processor_seconds * 1000:9.0f} ms"
            f"{median.wall_seconds * 1000:9.0f} ms{median.megabytes:11.1f} MB"
        )
    print(f"\n{'quart_app compared with':32}{'processor':>12}{'elapsed':>12}{'idle memory':>14}")
    for name, results in starts.items():
        if name != OURS:
            ratio = ratios(starts[OURS], results)
            print(
                f"{name:32}{ratio.processor_seconds:12.2f}{ratio.wall_seconds:12.2f}"
                f"{ratio.megabytes:14.2f}"
            )
    ratio = ratios(starts[OURS], starts[SAME_DEPENDENCIES])
    worst = max(ratio.processor_seconds, ratio.wall_seconds)
    is_met = worst <= GOAL
    print(
        f"\nGoal: at most {GOAL} times the time of stock Quart with the same dependencies."
        f" {'Met' if is_met else 'Missed'}: {worst:.2f}."
    )
    return is_met


def ratios(ours: list[Start], theirs: list[Start]) -> Start:
    """Return the medians of the ratios within each round."""
    return Start(
        *(
            statistics.median(our / their for our, their in zip(*values, strict=True))
            for values in zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True)
        )
    )


with tempfile.TemporaryDirectory(prefix="quart_app-bench-") as temporary:
    is_goal_met = report(measure(Path(temporary)))
sys.exit(1 if arguments.strict and not is_goal_met else 0)
