"""The servers of `scripts/bench/peers.py`, all on one core, and their processor time."""

import asyncio
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from bench.login_storm_servers import on_core, processor_seconds
from bench.peers_client import Browser
from cryptography.fernet import Fernet
from demo import PASSWORD, USERNAME, fill
from environment import ROOT

from quart_app.cli.use_cases import services_of
from quart_app.settings import PREFIX, Settings, read_database_url
from quart_app.storage.schema import upgrade_schema

SERVER_CORE = 0
_LOG_LINES = 15
_OK = (200, 204)
# gunicorn's worker with threads: its default worker closes the connection after each answer.
_GUNICORN = [
    *("--workers", "1", "--threads", "4", "--keep-alive", "75", "--access-logfile", "-"),
    "--no-control-socket",  # it would be in the home folder, the same for all
]
_SIGNED_COOKIES = "django.contrib.sessions.backends.signed_cookies"
_DATABASE = "django.contrib.sessions.backends.db"


@dataclass(frozen=True, kw_only=True)
class Server:
    """How a server is started, and how a browser logs in and out there."""

    app: str  # as Hypercorn or gunicorn takes it
    is_wsgi: bool = False
    environ: dict[str, str] = field(default_factory=dict)
    login: tuple[str, str] = ("/login", "")  # path and body
    logout: str = "/logout"
    database_pid: int | None = None  # of a server of PostgreSQL that only this one uses


@dataclass(frozen=True)
class Running:
    """A started server, with the process whose children are its workers."""

    server: Server
    port: int
    log: Path
    process: "subprocess.Popen[bytes]"

    def processor_seconds(self) -> float:
        """Return the processor time so far, of all its processes and of its database's."""
        roots = [self.process.pid, self.server.database_pid]
        return processor_seconds([pid for root in roots if root for pid in _with_children(root)])

    def log_in(self) -> Browser:
        """Return a browser with a new session. Exits if that fails."""
        browser, (path, body) = Browser(self.port), self.server.login
        self._post(browser, path, body)
        return browser

    def is_copied_cookie_dead(self, path: str) -> bool:
        """Return whether a logout ends a copy of the session's cookies, too."""
        browser = self.log_in()
        if self._status(browser, "GET", path) not in _OK:
            self.give_up(f"{path} refuses a new session")
        copy = browser.copy()
        self._post(browser, self.server.logout)
        return self._status(copy, "GET", path) not in _OK

    def give_up(self, reason: object) -> NoReturn:
        """Exit with the reason and the last lines of the log."""
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        sys.exit("\n".join([f"{self.server.app}: {reason}. Its log ends with:", *lines]))

    def _post(self, browser: Browser, path: str, body: str = "") -> None:
        status = self._status(browser, "POST", path, body)
        if status not in _OK:
            self.give_up(f"POST {path} was answered by {status}")

    def _status(self, browser: Browser, method: str, path: str, body: str = "") -> int:
        try:
            return browser.ask(method, path, body)
        except OSError as error:
            self.give_up(f"no answer to {method} {path} ({error})")


def _with_children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *map(int, children.split())]


def ours(folder: Path) -> Server:
    """Return this application, with the user and the three accounts of the demonstration."""
    key, encryption_key = secrets.token_hex(32), Fernet.generate_key().decode()
    url = f"sqlite:///{folder / 'ours.db'}"
    settings = Settings(
        secret_key=key,
        platform_encryption_keys=(encryption_key,),
        database_url=read_database_url(url),
    )
    asyncio.run(_fill(settings))
    return Server(
        app="quart_app.app:create_app()",
        environ={
            f"{PREFIX}SECRET_KEY": key,
            f"{PREFIX}PLATFORM_ENCRYPTION_KEY": encryption_key,
            f"{PREFIX}DATABASE_URL": url,
        },
        login=("/api/login", f'{{"username": "{USERNAME}", "password": "{PASSWORD}"}}'),
        logout="/api/logout",
    )


async def _fill(settings: Settings) -> None:
    await upgrade_schema(settings.database_url)
    async with services_of(settings) as services:
        await fill(services)


def peer(
    name: str, *, is_wsgi: bool = False, database_pid: int | None = None, **environ: str
) -> Server:
    """Return an application of bench/peer_applications/."""
    app = f"bench.peer_applications.{name}:app"
    return Server(app=app, is_wsgi=is_wsgi, database_pid=database_pid, environ=environ)


def django(database: Path, *, has_database_sessions: bool) -> Server:
    """Return Django with sessions in its database or in signed cookies."""
    return peer(
        "django_site",
        is_wsgi=True,
        PEER_SESSION_ENGINE=_DATABASE if has_database_sessions else _SIGNED_COOKIES,
        PEER_DATABASE=str(database),
    )


def session_table(url: str, database_pid: int | None = None) -> Server:
    """Return the older application's way, with this database (SQLAlchemy's URL)."""
    return peer("session_table", is_wsgi=True, database_pid=database_pid, PEER_DATABASE_URL=url)


@contextmanager
def running(servers: Sequence[Server], folder: Path, *, uvloop: bool) -> Iterator[list[Running]]:
    """Start all servers at once, and stop them at the end."""
    with ExitStack() as stack:
        yield [_start(server, folder, stack, uvloop=uvloop) for server in servers]


def _start(server: Server, folder: Path, stack: ExitStack, *, uvloop: bool) -> Running:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        number, port = listener.fileno(), listener.getsockname()[1]
        log = folder / f"server-{port}.log"
        gunicorn = ["gunicorn", *_GUNICORN]
        hypercorn = ["hypercorn", "--config", str(ROOT / "hypercorn.toml")]
        hypercorn += ["--worker-class", "uvloop"] if uvloop else []
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [
                    *(*on_core(SERVER_CORE), sys.executable, "-m"),
                    *(gunicorn if server.is_wsgi else hypercorn),
                    *("--bind", f"fd://{number}", server.app),
                ],
                cwd=folder,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scripts'}",
                    **server.environ,
                },
                stdout=stream,
                stderr=subprocess.STDOUT,
                pass_fds=[number],
            )
        stack.callback(process.wait)
        stack.callback(process.terminate)
    # Our copy of the socket is closed now, so that a server that failed refuses connections.
    return Running(server, port, log, process)
