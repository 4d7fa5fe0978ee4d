"""Two processes over one database: log in at one, and time when the other refuses the session."""

import asyncio
import hashlib
import secrets
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import psycopg
from itsdangerous import URLSafeTimedSerializer
from quart.sessions import session_json_serializer
from sqlalchemy import URL

from quart_app.composition import build_services
from quart_app.model import EndReason, Revocation, Role
from quart_app.session.revocations import NewRevocation
from quart_app.settings import Settings
from quart_app.storage.database import Database
from tests.callers import NOBODY
from tests.conftest import PASSWORD, SECRET_KEY
from tests.forking import run
from tests.servers import APP, STARTUP_SECONDS, Server, environ_of, hypercorns

ENDED_WITHIN_SECONDS = 1.0  # on every process that is connected
RECOVERED_WITHIN_SECONDS = 20.0


@dataclass(frozen=True)
class Processes:
    """Processes A and B, and commands that run beside them."""

    a: Server
    b: Server
    settings: Settings
    folder: Path

    def __iter__(self) -> Iterator[Server]:
        return iter((self.a, self.b))

    def new_user(self, role: Role = Role.VIEWER) -> str:
        """Create a user whose password is PASSWORD; return the name."""
        return new_user(self.settings, role)

    def run(self, *arguments: str, typed: str = "") -> str:
        """Run `python -m quart_app …` to its end, and return its output."""
        ended = run(
            [sys.executable, "-m", "quart_app", *arguments],
            cwd=self.folder,
            env=environ_of(self.settings),
            typed=typed,
            text=True,
            timeout=STARTUP_SECONDS,
        )
        assert ended.returncode == 0, ended.stderr
        return str(ended.stdout)


def new_user(settings: Settings, role: Role = Role.VIEWER) -> str:
    """Create a user whose password is PASSWORD; return the name."""
    name = f"user-{secrets.token_hex(4)}"

    async def create() -> None:
        built = build_services(settings)
        await built.services.users.create(
            NOBODY, username=name, email=f"{name}@example.com", role=role, password=PASSWORD
        )
        await built.close()

    asyncio.run(create())
    return name


@contextmanager
def two_processes(settings: Settings, folder: Path, *, app: str = APP) -> Iterator[Processes]:
    """Serve with two processes until the block ends."""
    with hypercorns(2, settings, folder, app=app) as (a, b):
        yield Processes(a, b, settings, folder)


def cookie_of(response: httpx2.Response) -> str | None:
    """Return the session cookie's value that a response sets; None if it sets none."""
    for line in response.headers.get_list("Set-Cookie"):
        name, _, rest = line.partition("=")
        if name == "session":
            return str(rest.partition(";")[0])
    return None


def log_in(
    server: Server, name: str, password: str = PASSWORD, *, cookie: str | None = None
) -> str:
    """Log in, presenting this cookie if given, and return the new cookie's value."""
    response = server.ask(
        "POST", "/api/login", cookie, json={"username": name, "password": password}
    )
    assert response.status_code == 200, response.text
    new_cookie = cookie_of(response)
    assert new_cookie
    return new_cookie


def log_out(server: Server, cookie: str, *, everywhere: bool = False) -> None:
    """Log out and check the response."""
    path = "/api/logout_all" if everywhere else "/api/logout"
    assert server.ask("POST", path, cookie).status_code == 204


def connect(server: Server, cookie: str, name: str) -> int:
    """Add a connection, and return its id."""
    response = server.ask(
        "POST",
        "/api/platforms",
        cookie,
        json={
            "name": name,
            "platform_type": "mastodon",
            "instance_url": "https://mastodon.example",
            "access_token": "a-token",
            "verify": False,
        },
    )
    assert response.status_code == 201, response.text
    return int(response.json()["id"])


def seconds_until_refused(server: Server, cookie: str, *, since: float) -> float:
    """Replay the cookie until it is refused, which must happen within the limit.

    The limit applies to the time at which the last accepted request was sent, because a busy
    machine is slow to send.
    """
    while True:
        sent = time.monotonic() - since
        status = server.status(cookie)
        if status == 401:
            return time.monotonic() - since
        assert status == 200
        assert sent <= ENDED_WITHIN_SECONDS, f"still answered when asked after {sent:.3f} s"
        time.sleep(0.002)


def wait_until_recovered(server: Server, cookie: str) -> None:
    """Repeat the request until it is answered with 200 instead of 503, which means a stale list."""
    deadline = time.monotonic() + RECOVERED_WITHIN_SECONDS
    while (status := server.status(cookie)) != 200:
        assert status == 503
        assert time.monotonic() < deadline, "not recovered"
        time.sleep(0.02)


def _serializer() -> URLSafeTimedSerializer:
    """Return a serializer of session cookies, written from the format's documentation."""
    return URLSafeTimedSerializer(
        SECRET_KEY,
        salt="cookie-session",
        serializer=session_json_serializer,
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha1},
    )


def session_of(cookie: str) -> dict[str, Any]:
    """Return the signed contents of a session cookie."""
    payload = _serializer().loads(cookie)
    assert isinstance(payload, dict)
    return payload


def with_session(cookie: str, **changes: object) -> str:
    """Return a cookie for the same session with these values changed."""
    return str(_serializer().dumps(session_of(cookie) | changes))


def revocation_of(cookie: str) -> NewRevocation:
    """Return the row that ends the session of this cookie."""
    now = datetime.now(UTC)
    return NewRevocation(
        sid=session_of(cookie)["sid"],
        expires_at=now + timedelta(days=1),
        reason=EndReason.LOGGED_OUT,
        created_at=now,
    )


def end_without_notification(settings: Settings, cookie: str) -> None:
    """End the cookie's session in the database without a notification."""

    async def end() -> None:
        database = Database(settings.database_url)
        async with database.begin() as db:
            db.add(Revocation(**vars(revocation_of(cookie))))
        await database.close()

    asyncio.run(end())


@contextmanager
def psycopg_connection(url: URL, **options: Any) -> Iterator[psycopg.Connection]:
    """A connection of the test's own to PostgreSQL."""
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn, **options) as connection:
        yield connection


@contextmanager
def database_locked(url: URL) -> Iterator[None]:
    """Block other writers until the block ends; on PostgreSQL, readers of users and logins, too."""
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(url.database or "", isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")
        return
    with psycopg_connection(url) as connection:
        connection.execute("LOCK TABLE users, logins IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


@contextmanager
def database_unreachable(url: URL) -> Iterator[None]:
    """Make the database unreachable until the block ends."""
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "")
        aside = path.rename(path.with_suffix(".aside"))
        yield
        aside.rename(path)
        return
    with psycopg_connection(url.set(database="postgres"), autocommit=True) as connection:
        name = url.database
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        yield
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
