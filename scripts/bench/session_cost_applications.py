"""The applications that `scripts/bench/session_cost.py` compares."""

import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from itsdangerous import URLSafeTimedSerializer
from quart import Quart, session
from quart.sessions import (
    SecureCookieSessionInterface,
    SessionInterface,
    SessionMixin,
    session_json_serializer,
)
from quart_auth import QuartAuth, current_user
from sqlalchemy import Boolean, Column, DateTime, Integer, MetaData, String, Table, insert, select
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from quart_app.app import create_app
from quart_app.model import EndReason
from quart_app.session import NewRevocation, renew_session, timestamp
from quart_app.session.cookies import ACTIVITY_SALT, SESSION_SALT
from quart_app.settings import Settings, read_database_url
from quart_app.storage.database import Database
from quart_app.storage.revocations import add_revocations
from quart_app.storage.schema import upgrade_schema

USER_ID = 123
_REVOCATIONS = 1000
_KEY = secrets.token_hex(32)

ASGIApp = Callable[..., Awaitable[Any]]
_legacy = MetaData()
_user_sessions = Table(
    "user_sessions",
    _legacy,
    Column("id", Integer, primary_key=True),
    Column("session_id", String(255), unique=True, index=True),
    Column("user_id", Integer),
    Column("active_platform_id", Integer),
    Column("is_active", Boolean),
    Column("expires_at", DateTime),
)


class FixedSession(dict[str, Any], SessionMixin):
    """A session that was not opened from a cookie."""

    modified = False

    def count_as_activity(self, *, at_once: bool = False) -> None:
        """Do nothing."""


class FixedSessionInterface(SessionInterface):
    """A session interface that costs nothing: it returns a fixed session and saves nothing."""

    def __init__(self) -> None:
        self.session = FixedSession(user_id=USER_ID)

    async def open_session(self, *_: Any) -> FixedSession:
        """Return the fixed session."""
        return self.session

    async def save_session(self, *_: Any) -> None:
        """Do nothing."""


@dataclass
class Contender:
    """An application, its baseline with a free session, and the cookies that a browser sends."""

    name: str
    app: ASGIApp
    baseline: ASGIApp
    cookie: str
    in_scope: dict[str, Any] = field(default_factory=dict)
    is_ours: bool = False
    # Whether each request has a different Cookie header, which the process has not cached.
    has_unique_headers: bool = False
    app_seconds: list[float] = field(default_factory=list)
    baseline_seconds: list[float] = field(default_factory=list)

    @property
    def costs(self) -> list[float]:
        """Return the cost in each round, in seconds per request."""
        return [a - b for a, b in zip(self.app_seconds, self.baseline_seconds, strict=True)]


def application(interface: Any, *, marks_activity: bool = False) -> Quart:
    """Return an application with one short page and this session interface."""
    app = Quart(__name__)
    app.secret_key = _KEY
    app.session_interface = interface

    if marks_activity:

        @app.get("/")
        async def active_page() -> str:
            renew_session()  # as web/pipeline/gate.py does
            return f"user {session['user_id']}"

    else:

        @app.get("/")
        async def page() -> str:
            return f"user {session['user_id']}"

    return app


def signed(value: Any, salt: str = SESSION_SALT) -> str:
    """Return a value in Flask's cookie format, which stock Quart reads, too."""
    serializer = URLSafeTimedSerializer(
        _KEY,
        salt=salt,
        serializer=session_json_serializer,
        signer_kwargs={"key_derivation": "hmac"},
    )
    return str(serializer.dumps(value))


@asynccontextmanager
async def contenders(folder: Path) -> AsyncIterator[list[Contender]]:
    """Yield all applications, with their databases in `folder`."""
    async with AsyncExitStack() as stack:
        interface = (await our_application(folder, stack)).session_interface
        payload = new_login()
        cookie, sid = f"session={signed(payload)}", payload["sid"]
        both = (
            f"{cookie}; session_activity={signed([sid, payload['last_activity']], ACTIVITY_SALT)}"
        )
        plain = application(FixedSessionInterface())
        ours = application(interface)
        yield [
            Contender("ours", ours, plain, cookie, is_ours=True),
            Contender(
                "ours, with activity not yet due",
                application(interface, marks_activity=True),
                application(FixedSessionInterface(), marks_activity=True),
                both,
                is_ours=True,
            ),
            Contender("ours, a header not seen before", ours, plain, both, has_unique_headers=True),
            Contender("stock Quart", application(SecureCookieSessionInterface()), plain, cookie),
            with_quart_auth(),
            with_starlette(payload),
            await with_a_query(folder, sid, stack),
        ]


def new_login() -> dict[str, Any]:
    """Return the payload of a session that begins now."""
    now = timestamp(datetime.now(UTC))
    return {
        "user_id": USER_ID,
        "authenticated": True,
        "platform_connection_id": 456,
        "created_at": now,
        "last_activity": now,
        "expires_at": timestamp(datetime.now(UTC) + timedelta(days=1)),
        "remember": False,
        "sid": secrets.token_urlsafe(16),
        "epoch": 0,
    }


async def our_application(folder: Path, stack: AsyncExitStack) -> Quart:
    """Return quart_app, started, with a revocation list that it follows."""
    url = read_database_url(f"sqlite:///{folder / 'ours.db'}")
    await upgrade_schema(url)
    database = Database(url)
    stack.push_async_callback(database.close)
    now = datetime.now(UTC)
    async with database.begin() as db:
        await add_revocations(
            db,
            [
                NewRevocation(
                    sid=None if number % 10 == 0 else secrets.token_urlsafe(16),
                    user_id=USER_ID + 1 + number if number % 10 == 0 else None,
                    epoch=1 if number % 10 == 0 else None,
                    expires_at=now + timedelta(days=1),
                    reason=EndReason.LOGGED_OUT,
                    created_at=now,
                )
                for number in range(_REVOCATIONS)
            ],
        )
    settings = Settings(
        secret_key=_KEY,
        platform_encryption_keys=(Fernet.generate_key().decode(),),
        database_url=url,
        session_renewal=timedelta(hours=1),  # so that no measured request sets a new cookie
    )
    app = create_app(settings)
    await app.startup()
    stack.push_async_callback(app.shutdown)
    revocations = app.extensions["quart_app"].revocations
    if len(revocations) != _REVOCATIONS or not revocations.is_fresh():
        sys.exit("The revocation list was not loaded completely, or is stale.")
    return app


def with_quart_auth() -> Contender:
    """Return Quart-Auth with its defaults, which does not use Quart's session."""
    app = Quart(__name__)
    app.secret_key = _KEY
    app.session_interface = FixedSessionInterface()  # type: ignore[assignment] # Quart names its own class
    auth = QuartAuth(app)

    @app.get("/")
    async def page() -> str:
        return f"user {current_user.auth_id}"

    cookie = f"QUART_AUTH={auth.dump_token(str(USER_ID), app)}"
    return Contender("Quart-Auth", app, application(FixedSessionInterface()), cookie)


def with_starlette(payload: dict[str, Any]) -> Contender:
    """Return Starlette with its SessionMiddleware; the baseline lacks it."""

    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"user {request.session['user_id']}")

    async def log_in(request: Request) -> PlainTextResponse:
        request.session.update(payload)
        return PlainTextResponse("")

    routes = [Route("/", page), Route("/login", log_in)]
    app = Starlette(routes=routes, middleware=[Middleware(SessionMiddleware, secret_key=_KEY)])
    return Contender(
        "Starlette", app, Starlette(routes=routes), "", {"session": {"user_id": USER_ID}}
    )


async def with_a_query(folder: Path, sid: str, stack: AsyncExitStack) -> Contender:
    """Return an application that reads a row of user_sessions in each request.

    The older application did this.
    """
    database = Database(read_database_url(f"sqlite:///{folder / 'legacy.db'}"), create=True)
    stack.push_async_callback(database.close)
    expires_at = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
    rows = [
        {
            "session_id": session_id,
            "user_id": USER_ID,
            "active_platform_id": 456,
            "is_active": True,
            "expires_at": expires_at,
        }
        for session_id in [sid, *(secrets.token_urlsafe(16) for _ in range(_REVOCATIONS))]
    ]
    async with database.begin() as db:
        await (await db.connection()).run_sync(_legacy.create_all)
        await db.execute(insert(_user_sessions), rows)

    app = Quart(__name__)
    app.session_interface = FixedSessionInterface()  # type: ignore[assignment] # Quart names its own class
    query = select(_user_sessions).where(_user_sessions.c.session_id == sid)

    @app.get("/")
    async def page() -> str:
        async with database.read() as db:
            row = (await db.execute(query)).one()
        if not row.is_active or row.expires_at <= datetime.now(UTC).replace(tzinfo=None):
            return "logged out"
        return f"user {session['user_id']}"

    return Contender("one query per request", app, application(FixedSessionInterface()), "")
