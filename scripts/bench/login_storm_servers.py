"""The servers of `scripts/bench/login_storm.py`, their database, and their use of resources."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.postgres import postgres_server
from cryptography.fernet import Fernet
from environment import ROOT
from sqlalchemy import URL, func, insert, select
from sqlalchemy.engine import make_url

from quart_app.model import Login, Role, User
from quart_app.services.identity.passwords import Passwords
from quart_app.settings import read_database_url
from quart_app.storage.database import Database
from quart_app.storage.schema import upgrade_schema

_MEGABYTE = 1_000_000


async def fill(url: URL, users: int, password: str) -> None:
    """Create users with the same password and hash, which saves time and does not help logins."""
    await upgrade_schema(url)
    passwords, database = Passwords(), Database(url)
    made = await passwords.hash(password)
    passwords.close()
    rows = [
        {
            "username": f"user{number}",
            "email": f"user{number}@example.com",
            "password_hash": made,
            "role": Role.VIEWER,
            "active_flag": True,
        }
        for number in range(users)
    ]
    async with database.begin() as db:
        await db.execute(insert(User), rows)
    await database.close()


async def logins_written(url: URL) -> int:
    """Return the number of login records in the database."""
    database = Database(url)
    async with database.read() as db:
        number = await db.scalar(select(func.count()).select_from(Login))
    await database.close()
    return number or 0


@contextmanager
def database(engine: str, folder: Path) -> Iterator[URL]:
    """Create a temporary database with this engine. Exits if PostgreSQL can't run here."""
    if engine == "sqlite":
        yield read_database_url(f"sqlite:///{folder / 'storm.db'}")
        return
    with postgres_server(folder) as uri:
        if uri is None:
            sys.exit(1)
        yield make_url(uri).set(drivername="postgresql+psycopg")


@contextmanager
def served(
    url: URL, folder: Path, processes: int, *, uvloop: bool, root: Path = ROOT
) -> Iterator[dict[int, int]]:
    """Start server processes, each with its own port and core; yield process ids by port.

    `root` has the files of the application.
    """
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(root),
        "QUART_APP_SECRET_KEY": secrets.token_hex(32),
        "QUART_APP_PLATFORM_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        "QUART_APP_DATABASE_URL": url.render_as_string(hide_password=False),
        "QUART_APP_TRUSTED_PROXIES": "1",  # so that clients can send different addresses
    }
    servers: dict[int, int] = {}
    with ExitStack() as stack:
        for number in range(processes):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            log = stack.enter_context((folder / f"server-{number}.log").open("wb"))
            server = subprocess.Popen(
                [
                    *on_core(number),
                    *(sys.executable, "-m", "hypercorn"),
                    *("--config", str(root / "hypercorn.toml")),
                    *("--bind", f"fd://{listener.fileno()}"),
                    *(["--worker-class", "uvloop"] if uvloop else []),
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


def on_core(number: int) -> list[str]:
    """Return a command prefix that pins to one core, as the README recommends to operators.

    It is empty if the machine lacks `taskset`.
    """
    taskset = shutil.which("taskset")
    return [] if taskset is None else [taskset, "-c", str(number % (os.cpu_count() or 1))]


def processor_seconds(pids: Sequence[int]) -> float:
    """Return the processor time that these processes have used so far."""
    ticks = 0
    for pid in pids:
        after_the_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(after_the_name[11]) + int(after_the_name[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int, name: str) -> float:
    """Return a size from /proc/PID/status; VmHWM is the peak of the resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / _MEGABYTE
    sys.exit(f"/proc/{pid}/status has no {name}.")
