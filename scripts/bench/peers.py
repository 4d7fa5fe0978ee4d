#!/usr/bin/env python3
"""Measure a logged-in request here and in other frameworks, and whether a logout is final there.

Each server has the same core, and the client another one. All run at the same time, and rounds
alternate between them: in a round, the client sends the same request on kept connections, each
time as soon as the answer before it has arrived. Results are medians of the rounds, and compared
with stock Quart's of the same round. Other load on the machine changes the ratios of processor
times little; if it makes those of the rates doubtful, the output says so.
Before, the client logs in, copies the cookie, logs out and asks again with the copy.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import ROOT, run_in_environment
from parsers import PrintableParser

parser = PrintableParser(prog="scripts/bench/peers.py", description=__doc__)
parser.add_argument("--rounds", type=int, default=10, help="rounds of each peer (10)")
parser.add_argument("--seconds", type=float, default=0.7, help="seconds of a round (0.7)")
parser.add_argument("--connections", type=int, default=8, help="kept connections (8)")
parser.add_argument("--thorough", action="store_true", help="40 rounds of 2 seconds: 20 minutes")
parser.add_argument("--uvloop", action="store_true", help="serve with uvloop under Hypercorn")
parser.add_argument("--strict", action="store_true", help="exit with 1 if a goal is missed")
parser.add_argument("--picture", action="store_true", help="redraw docs/images/peers.svg")
parser.add_argument("--quick", action="store_true", help="run with tiny counts, as a smoke test")
arguments = parser.parse_args()
if arguments.thorough:
    arguments.rounds, arguments.seconds = 40, 2.0
if arguments.quick:
    arguments.rounds, arguments.seconds, arguments.connections = 1, 0.05, 2
if min(arguments.rounds, arguments.connections) < 1 or arguments.seconds <= 0:
    parser.error("--rounds and --connections must be 1 or more, and --seconds more than 0")

run_in_environment("requirements-dev.lock")

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from bench.peers_client import UnexpectedAnswerError, measure
from bench.peers_picture import picture
from bench.peers_report import DASHBOARD, QUART_AUTH, STOCK, Peer, goals, shares, table
from bench.peers_servers import (
    SERVER_CORE,
    Running,
    Server,
    django,
    ours,
    peer,
    running,
    session_table,
)
from bench.postgres import postgres_server
from sqlalchemy.engine import make_url

OUR_PATHS = {
    "/auth/verify": "/auth/verify",
    "/api/session_state": "/api/session_state",
    DASHBOARD: "/",
}
PICTURE = ROOT / "docs" / "images" / "peers.svg"


@contextmanager
def peers(folder: Path) -> Iterator[dict[Peer, Running]]:
    """Start all servers; yield the peers, each with its server. Three paths are of ours."""
    with postgres_server(folder) as uri:
        others = {
            STOCK: peer("quart_session"),
            QUART_AUTH: peer("quart_auth_login"),
            "Starlette": peer("starlette_session"),
            "Flask-Login": peer("flask_login_session", is_wsgi=True),
            "Django, signed cookies": django(folder / "one.db", has_database_sessions=False),
            "Django, database sessions": django(folder / "two.db", has_database_sessions=True),
            "session table, SQLite": session_table(f"sqlite:///{folder / 'table.db'}"),
        }
        if uri is not None:
            others["session table, PostgreSQL"] = on_postgresql(uri, folder)
        servers = [ours(folder), *others.values()]
        with running(servers, folder, uvloop=arguments.uvloop) as (own, *started):
            yield {
                Peer(name=name, path=path, is_ours=True): own for name, path in OUR_PATHS.items()
            } | {
                Peer(name=name, path="/me", is_wsgi=each.server.is_wsgi): each
                for name, each in zip(others, started, strict=True)
            }


def on_postgresql(uri: str, folder: Path) -> Server:
    """Return the session table on PostgreSQL, whose processes share the servers' core."""
    pid = int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.sched_setaffinity(pid, {SERVER_CORE})  # and its future children, one for each connection
    url = make_url(uri).set(drivername="postgresql+psycopg")
    return session_table(url.render_as_string(hide_password=False), pid)


def run(servers: dict[Peer, Running]) -> None:
    """Log out everywhere, then measure all peers in alternating rounds."""
    os.sched_setaffinity(0, {(os.cpu_count() or 1) - 1})
    for each, server in servers.items():
        show_progress(f"Waiting for {each.name}")
        each.is_final = server.is_copied_cookie_dead(each.path)
    browsers = {server.port: server.log_in() for server in servers.values()}
    for number in range(arguments.rounds):
        show_progress(f"Round {number + 1} of {arguments.rounds}")
        for each in servers if number % 2 else reversed(servers):
            server = servers[each]
            asked = measure(
                browsers[server.port],
                each.path,
                connections=arguments.connections,
                seconds=arguments.seconds,
                processor_seconds=server.processor_seconds,
            )
            try:
                each.rounds.append(asyncio.run(asked))
            except (UnexpectedAnswerError, OSError) as error:
                server.give_up(error)


def show_progress(words: str) -> None:
    """Replace the line of progress in a terminal, and write a new line elsewhere."""
    start, end = ("\r\x1b[K", "") if sys.stderr.isatty() else ("", "\n")
    print(f"{start}{words} …", end=end, file=sys.stderr, flush=True)


with (
    tempfile.TemporaryDirectory(prefix="quart_app-bench-") as temporary,
    peers(Path(temporary)) as servers,
):
    run(servers)
    show_progress("Stopping the servers")
measured = list(servers)
print(
    f"\n{arguments.rounds} rounds of {arguments.seconds:g} s, {arguments.connections} kept"
    f" connections. Response times and processor times are in ms.\n\n{table(measured)}\n"
)
print(f"{shares(measured)}\n")
found = goals(measured)
for goal in found:
    print(f"{'Met' if goal.is_met else 'Missed'}: {goal.words}.")
if arguments.picture:
    PICTURE.write_text(picture(measured), encoding="utf-8")
    print(f"Wrote {PICTURE.relative_to(ROOT)}.")
sys.exit(1 if arguments.strict and not all(goal.is_met for goal in found) else 0)
