#!/usr/bin/env python3
"""Measure what the session costs in a request that it validates, in process, beside what others do.

Each application is called as a server would call it, with no network, and is measured against
itself with a session that costs nothing; the difference is the cost, in processor time of all
threads. Rounds of the two alternate and the median of their differences counts, so that a busy
machine moves the microseconds but hardly the ratios. With --strict it is a failure that ours costs
more than the goal.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import run_in_environment
from parsers import PrintableParser

parser = PrintableParser(
    prog="scripts/bench/session_cost.py",
    description=__doc__,
)
parser.add_argument("--rounds", type=int, default=400, help="of each contender (400)")
parser.add_argument("--requests", type=int, default=20, help="in a round (20)")
parser.add_argument("--seconds", type=float, default=50, help="after which rounds end (50)")
parser.add_argument("--strict", action="store_true", help="exit with 1 where the goal is missed")
parser.add_argument("--profile", action="store_true", help="show where our time goes instead")
parser.add_argument("--quick", action="store_true", help="tiny counts, to see that it still runs")
arguments = parser.parse_args()
if arguments.quick:
    arguments.rounds, arguments.requests = 1, 1
if arguments.rounds < 1 or arguments.requests < 1:
    parser.error("--rounds and --requests are 1 or more")

run_in_environment("requirements-dev.lock")

import asyncio
import cProfile
import gc
import itertools
import math
import pstats
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
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

GOAL = 0.15  # of what stock Quart's session costs
REVOCATIONS = 1000
USER_ID = 123
KEY = secrets.token_hex(32)
WARM_UP_ROUNDS = 10
# At the start of each round: the processor has just worked for another application.
_UNCOUNTED = 5
_PROFILED_REQUESTS = 5000
_PROFILE_LINES = 30

_BROWSER = [
    (b"host", b"fediverse.example"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-GB,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"referer", b"https://fediverse.example/account"),
    (b"sec-fetch-site", b"same-origin"),
    (b"sec-fetch-mode", b"navigate"),
]

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


class Premade(dict[str, Any], SessionMixin):
    """A session that nobody opened."""

    modified = False

    def count_as_activity(self, *, at_once: bool = False) -> None:
        """Do nothing."""


class Nothing(SessionInterface):
    """A session interface that hands out one session made beforehand, and saves nothing."""

    def __init__(self) -> None:
        self.session = Premade(user_id=USER_ID)

    async def open_session(self, *_: Any) -> Premade:
        """Return it."""
        return self.session

    async def save_session(self, *_: Any) -> None:
        """Do nothing."""


@dataclass
class Contender:
    """An application, itself without what is measured, and the cookies that a browser sends."""

    name: str
    app: ASGIApp
    baseline: ASGIApp
    cookie: str
    in_scope: dict[str, Any] = field(default_factory=dict)
    is_ours: bool = False
    # Whether each request's Cookie header is one that the process has never seen.
    is_first_sight: bool = False
    app_seconds: list[float] = field(default_factory=list)
    baseline_seconds: list[float] = field(default_factory=list)

    @property
    def costs(self) -> list[float]:
        """Return the difference, round by round."""
        return [a - b for a, b in zip(self.app_seconds, self.baseline_seconds, strict=True)]


def application(interface: Any, *, marks_activity: bool = False) -> Quart:
    """Return an application of one short page, with this session interface."""
    app = Quart("bench")
    app.secret_key = KEY
    app.session_interface = interface

    if marks_activity:

        @app.get("/")
        async def active_page() -> str:
            renew_session()  # as our gate does
            return f"user {session['user_id']}"

    else:

        @app.get("/")
        async def page() -> str:
            return f"user {session['user_id']}"

    return app


def signed(value: Any, salt: str = SESSION_SALT) -> str:
    """Return it in Flask's wire format, which stock Quart reads as well as we do."""
    serializer = URLSafeTimedSerializer(
        KEY,
        salt=salt,
        serializer=session_json_serializer,
        signer_kwargs={"key_derivation": "hmac"},
    )
    return str(serializer.dumps(value))


@asynccontextmanager
async def contenders(folder: Path) -> AsyncIterator[list[Contender]]:
    """Yield them all; their databases are in `folder`."""
    async with AsyncExitStack() as stack:
        interface = await our_sessions(folder, stack)
        now = datetime.now(UTC)
        sid = secrets.token_urlsafe(16)
        payload = {
            "user_id": USER_ID,
            "authenticated": True,
            "platform_connection_id": 456,
            "created_at": timestamp(now),
            "last_activity": timestamp(now),
            "expires_at": timestamp(now + timedelta(days=1)),
            "remember": False,
            "sid": sid,
            "epoch": 0,
        }
        cookie = f"session={signed(payload)}"
        both = f"{cookie}; session_activity={signed([sid, timestamp(now)], ACTIVITY_SALT)}"
        plain = application(Nothing())
        ours = application(interface)
        yield [
            Contender("ours", ours, plain, cookie, is_ours=True),
            Contender(
                "ours, with activity not yet due",
                application(interface, marks_activity=True),
                application(Nothing(), marks_activity=True),
                both,
                is_ours=True,
            ),
            Contender(
                "ours, a header seen for the first time", ours, plain, both, is_first_sight=True
            ),
            Contender("stock Quart", application(SecureCookieSessionInterface()), plain, cookie),
            with_quart_auth(),
            with_starlette(payload),
            await with_a_query(folder, sid, stack),
        ]


async def our_sessions(folder: Path, stack: AsyncExitStack) -> SessionInterface:
    """Return quart_app's own, as it serves: its list is loaded, and followed as ever."""
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
                for number in range(REVOCATIONS)
            ],
        )
    settings = Settings(
        secret_key=KEY,
        platform_encryption_keys=(Fernet.generate_key().decode(),),
        database_url=url,
        session_renewal=timedelta(hours=1),  # a renewal is a new cookie, for one request a minute
    )
    app = create_app(settings)
    await app.startup()
    stack.push_async_callback(app.shutdown)
    revocations = app.extensions["quart_app"].revocations
    if len(revocations) != REVOCATIONS or not revocations.is_fresh():
        sys.exit("The list of what has ended is not as it should be.")
    return app.session_interface


def with_quart_auth() -> Contender:
    """Return Quart-Auth with its defaults; its session interface is the one that costs nothing."""
    app = Quart("bench")
    app.secret_key = KEY
    app.session_interface = Nothing()  # type: ignore[assignment] # Quart names its own class
    auth = QuartAuth(app)

    @app.get("/")
    async def page() -> str:
        return f"user {current_user.auth_id}"

    cookie = f"QUART_AUTH={auth.dump_token(str(USER_ID), app)}"
    return Contender("Quart-Auth", app, application(Nothing()), cookie)


def with_starlette(payload: dict[str, Any]) -> Contender:
    """Return Starlette with and without its SessionMiddleware."""

    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"user {request.session['user_id']}")

    async def log_in(request: Request) -> PlainTextResponse:
        request.session.update(payload)
        return PlainTextResponse("")

    routes = [Route("/", page), Route("/login", log_in)]
    app = Starlette(routes=routes, middleware=[Middleware(SessionMiddleware, secret_key=KEY)])
    return Contender(
        "Starlette", app, Starlette(routes=routes), "", {"session": {"user_id": USER_ID}}
    )


async def with_a_query(folder: Path, sid: str, stack: AsyncExitStack) -> Contender:
    """Return what the older application did: a row of user_sessions is read for each request."""
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
        for session_id in [sid, *(secrets.token_urlsafe(16) for _ in range(REVOCATIONS))]
    ]
    async with database.begin() as db:
        await (await db.connection()).run_sync(_legacy.create_all)
        await db.execute(insert(_user_sessions), rows)

    app = Quart("bench")
    app.session_interface = Nothing()  # type: ignore[assignment] # Quart names its own class
    query = select(_user_sessions).where(_user_sessions.c.session_id == sid)

    @app.get("/")
    async def page() -> str:
        async with database.read() as db:
            row = (await db.execute(query)).one()
        if not row.is_active or row.expires_at <= datetime.now(UTC).replace(tzinfo=None):
            return "logged out"
        return f"user {session['user_id']}"

    return Contender("one query a request", app, application(Nothing()), "")


class Caller:
    """The server's side of the calls; each request is a browser's GET without a body."""

    def __init__(self, requests: int) -> None:
        self._requests = requests
        self._counter = itertools.count()

    def scopes(self, contender: Contender, path: str = "/") -> list[dict[str, Any]]:
        """Return a round's requests, with those that are not counted."""
        return [
            {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": "1.1",
                "method": "GET",
                "scheme": "https",
                "path": path,
                "raw_path": path.encode(),
                "query_string": b"",
                "root_path": "",
                "headers": [*_BROWSER, (b"cookie", self._cookie(contender))],
                "client": ("203.0.113.7", 50000),
                "server": ("fediverse.example", 443),
                "extensions": {},
                **contender.in_scope,
            }
            for _ in range(_UNCOUNTED + self._requests)
        ]

    def _cookie(self, contender: Contender) -> bytes:
        suffix = f"; n={next(self._counter)}" if contender.is_first_sight else ""
        return (contender.cookie + suffix).encode()

    async def seconds_a_request(self, app: ASGIApp, scopes: Sequence[dict[str, Any]]) -> float:
        """Return what a request takes, of this round's."""
        gc.collect()
        gc.disable()
        for scope in scopes[:_UNCOUNTED]:
            await app(scope, _receive(), _discard)
        began = time.process_time()
        for scope in scopes[_UNCOUNTED:]:
            await app(scope, _receive(), _discard)
        seconds = time.process_time() - began
        gc.enable()
        return seconds / self._requests

    async def answer(
        self, app: ASGIApp, contender: Contender, path: str = "/"
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        """Return status, headers and body of one answer."""
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await app(self.scopes(contender, path)[0], _receive(), send)
        body = b"".join(message.get("body", b"") for message in sent)
        return sent[0]["status"], dict(sent[0]["headers"]), body


def _receive() -> Callable[[], Awaitable[dict[str, Any]]]:
    """Return what gives an empty body and then waits, for the browser stays."""
    is_first = True

    async def receive() -> dict[str, Any]:
        nonlocal is_first
        if is_first:
            is_first = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    return receive


async def _discard(_message: dict[str, Any]) -> None:
    pass


async def check(caller: Caller, contender: Contender) -> None:
    """See that what is measured is what we say: a valid session, and nothing sets a cookie."""
    for app in (contender.app, contender.baseline):
        status, headers, body = await caller.answer(app, contender)
        if (status, body) != (200, f"user {USER_ID}".encode()) or b"set-cookie" in headers:
            sys.exit(f"{contender.name}: an unexpected answer: {status} {headers} {body!r}")
        if contender.is_ours and app is contender.app and headers.get(b"vary") != b"Cookie":
            sys.exit(f"{contender.name}: our session was not asked.")


async def run(folder: Path) -> bool:
    """Measure or profile; tell whether the goal is met."""
    caller = Caller(arguments.requests)
    async with contenders(folder) as all_contenders:
        for contender in all_contenders:
            if contender.name == "Starlette":  # it alone makes its cookie itself
                _, headers, _ = await caller.answer(contender.app, contender, "/login")
                contender.cookie = headers[b"set-cookie"].decode().partition(";")[0]
            await check(caller, contender)
        if arguments.profile:
            await profile(all_contenders[0])
            return True
        await measure(caller, all_contenders)
    return report(all_contenders)


async def measure(caller: Caller, all_contenders: Sequence[Contender]) -> None:
    """Let the rounds of every application and its baseline take turns."""
    gc.collect()
    gc.freeze()  # what stands now is not looked at again between rounds
    ends = time.monotonic() + arguments.seconds
    for number in range(-WARM_UP_ROUNDS, arguments.rounds):
        if number > 0 and time.monotonic() >= ends:
            break
        for contender in all_contenders:
            turns = [
                (contender.app, contender.app_seconds),
                (contender.baseline, contender.baseline_seconds),
            ]
            for app, seconds in turns if number % 2 else reversed(turns):
                taken = await caller.seconds_a_request(app, caller.scopes(contender))
                if number >= 0:
                    seconds.append(taken)


def report(all_contenders: Sequence[Contender]) -> bool:
    """Print the table and tell whether the goal is met."""
    (stock,) = [each for each in all_contenders if each.name == "stock Quart"]
    of_stock = statistics.median(stock.costs)
    print(
        f"µs a request, medians of {len(stock.costs)} rounds of {arguments.requests};"
        " ±: 95 % confidence in the median\n"
    )
    print(f"{'':40}{'with':>9}{'without':>9}{'cost':>9}{'±':>7}{'of stock Quart':>17}")
    for each in all_contenders:
        cost = statistics.median(each.costs)
        print(
            f"{each.name:40}{statistics.median(each.app_seconds) * 1e6:9.1f}"
            f"{statistics.median(each.baseline_seconds) * 1e6:9.1f}{cost * 1e6:9.2f}"
            f"{_uncertainty(each.costs) * 1e6:7.2f}{cost / of_stock:17.3f}"
        )
    worst = max(statistics.median(each.costs) for each in all_contenders if each.is_ours) / of_stock
    is_met = worst <= GOAL
    print(
        f"\nGoal: ours at most {GOAL} of stock Quart."
        f" {'Met' if is_met else 'Missed'}: {worst:.3f} (the larger of the first two lines)."
    )
    return is_met


def _uncertainty(costs: Sequence[float]) -> float:
    """Return half the width of the 95 % confidence interval of the median, by order statistics."""
    ordered, half = sorted(costs), 0.98 * math.sqrt(len(costs))
    low = max(0, math.floor(len(costs) / 2 - half))
    high = min(len(costs) - 1, math.ceil(len(costs) / 2 + half))
    return (ordered[high] - ordered[low]) / 2


async def profile(ours: Contender) -> None:
    """Print where the time of our application goes, by the profiler's clock."""
    caller, profiler = Caller(_PROFILED_REQUESTS), cProfile.Profile()
    scopes = caller.scopes(ours)
    profiler.enable()
    await caller.seconds_a_request(ours.app, scopes)
    profiler.disable()
    stats = pstats.Stats(profiler).strip_dirs().sort_stats("tottime")
    print(f"{_PROFILED_REQUESTS} requests: first of the session's own modules, then of everything.")
    stats.print_stats(r"session|revocations", _PROFILE_LINES)
    stats.print_stats(_PROFILE_LINES)


with tempfile.TemporaryDirectory(prefix="quart_app-bench-") as temporary:
    is_goal_met = asyncio.run(run(Path(temporary)))
sys.exit(1 if arguments.strict and not is_goal_met else 0)
