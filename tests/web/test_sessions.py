"""The session: create, validate, switch, clear, and what may never happen to one.

This file can be run alone: `scripts/test tests/web/test_sessions.py`.
"""

import hashlib
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import flask
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeTimedSerializer
from quart import Quart, Response, session
from quart.sessions import session_json_serializer
from quart.typing import TestClientProtocol as Client

from quart_app.settings import Settings, with_setting
from quart_app.web.pipeline.session import (
    Limits,
    clear_session,
    create_session,
    renew_session,
    switch_platform,
    validate_session,
)
from quart_app.web.pipeline.session_interface import SessionCookies, SessionTooLarge
from tests.conftest import SECRET_KEY, Clock, MakeApp, Member, log_in, set_cookies

SECOND = timedelta(seconds=1)
OTHER_KEY = "another key, of thirty-two bytes or more"


def flask_app(key: str = SECRET_KEY) -> flask.Flask:
    app = flask.Flask("flask_peer")
    app.secret_key = key

    @app.get("/read")
    def read() -> dict[str, Any]:
        return dict(flask.session)

    @app.get("/write")
    def write() -> str:
        flask.session["colour"] = "green"
        flask.session["when"] = datetime(2025, 1, 9, 12, tzinfo=UTC)
        return "written"

    return app


def signer(
    key: str = SECRET_KEY, *, salt: str = "cookie-session", digest: Any = hashlib.sha1
) -> URLSafeTimedSerializer:
    """A serializer of the wire format, made here from the format's own words."""
    return URLSafeTimedSerializer(
        key,
        salt=salt,
        serializer=session_json_serializer,
        signer_kwargs={"key_derivation": "hmac", "digest_method": digest},
    )


def cookies_interface(clock: Clock, **changes: Any) -> SessionCookies:
    day = timedelta(days=1)
    values: dict[str, Any] = {
        "keys": [SECRET_KEY],
        "digest": "sha1",
        "cookie_name": "session",
        "secure": False,
        "limits": Limits(idle=timedelta(hours=8), absolute=day),
        "remember_limits": Limits(idle=30 * day, absolute=30 * day),
        "renewal": timedelta(seconds=60),
        "is_alive": lambda *_: True,
        "clock": clock.seconds,
    }
    return SessionCookies(**values | changes)


SID = "A" * 21 + "w"


def plain_app(clock: Clock, **changes: Any) -> Quart:
    """An application with nothing but the session: the interface is usable on its own."""
    app = Quart("plain")
    app.session_interface = cookies_interface(clock, **changes)  # type: ignore[assignment]

    @app.post("/create", defaults={"remember": False})
    @app.post("/create_remembered", defaults={"remember": True})
    async def create(*, remember: bool) -> str:
        create_session(
            user_id=7,
            platform_connection_id=1,
            sid=SID,
            epoch=0,
            created_at=clock(),
            expires_at=clock() + timedelta(days=1),
            remember=remember,
        )
        return "created"

    @app.get("/validate")
    async def validate() -> dict[str, Any]:
        renew_session()
        login = validate_session()
        return {"login": login and login.user_id, "session": dict(session)}

    @app.post("/switch/<int:number>")
    async def switch(number: int) -> str:
        switch_platform(number)
        return "switched"

    @app.post("/clear")
    async def clear() -> str:
        clear_session()
        return "cleared"

    return app


async def logged_in_as(client: Client) -> Any:
    response = await client.get("/validate")
    return (await response.get_json())["login"]


def cookie_of(client: Client, name: str = "session") -> str:
    (cookie,) = [cookie for cookie in client.cookie_jar or () if cookie.name == name]
    return str(cookie.value)


def put_cookie(client: Client, value: str, name: str = "session") -> None:
    client.set_cookie("localhost", name, value)


# --- the four use cases --------------------------------------------------------------------------


async def test_create_signs_just_the_documented_keys(
    visitor: Client, member: Member, clock: Clock
) -> None:
    await log_in(visitor, member)
    payload = signer().loads(cookie_of(visitor))
    sid = payload.pop("sid")
    assert len(sid) == 22
    now = clock().isoformat(timespec="microseconds").replace("+00:00", "Z")
    ends = (clock() + timedelta(hours=24)).isoformat(timespec="microseconds")
    assert payload == {
        "user_id": member.id,
        "authenticated": True,
        "platform_connection_id": member.platform_ids[0],
        "created_at": now,
        "last_activity": now,
        "expires_at": ends.replace("+00:00", "Z"),
        "remember": False,
        "epoch": 0,
    }


async def test_every_login_has_another_sid(app: Quart, member: Member) -> None:
    sids = set()
    for _ in range(5):
        client = app.test_client()
        await log_in(client, member)
        sids.add(signer().loads(cookie_of(client))["sid"])
    assert len(sids) == 5


@pytest.mark.parametrize("remember", [False, True])
async def test_only_a_remembered_cookie_outlives_the_browser(
    visitor: Client, member: Member, *, remember: bool
) -> None:
    body = {"username": member.username, "password": member.password, "remember": remember}
    response = await visitor.post("/api/login", json=body)
    line = set_cookies(response)["session"]
    assert "HttpOnly" in line
    assert "SameSite=Lax" in line
    assert "Path=/" in line
    assert "Domain" not in line
    assert ("Max-Age=2592000" in line) is remember
    assert "Secure" not in line  # the public address is http


async def test_https_binds_the_cookies_to_this_host(
    settings: Settings, make_app: MakeApp, member: Member, clock: Clock
) -> None:
    app = await make_app(with_setting(settings, public_url="https://here.example"))
    client = app.test_client()
    body = {"username": member.username, "password": member.password}
    response = await client.post("/api/login", json=body)
    value = set_cookies(response)["__Host-session"]
    clock.advance(timedelta(minutes=2))
    headers = {"Cookie": value.split(";")[0]}
    response = await client.post("/api/session/renew", headers=headers)
    for line in (value, set_cookies(response)["__Host-session_activity"]):
        assert "Secure" in line
        assert "Path=/" in line
        assert "Domain" not in line


async def test_validate_makes_no_query_and_the_count_sees_those_that_are_made(
    browser: Client, statements: list[str]
) -> None:
    for _ in range(20):
        response = await browser.get("/api/session_state")
        assert response.status_code == 200
    assert statements == []
    await browser.get("/api/platforms")
    assert any("platform_connections" in statement for statement in statements)


async def test_validate_refuses_a_visitor(visitor: Client) -> None:
    response = await visitor.get("/api/session_state")
    assert response.status_code == 401
    assert (await response.get_json())["code"] == "not_logged_in"


async def test_switch_changes_the_platform_and_nothing_else(
    browser: Client, member: Member
) -> None:
    before = signer().loads(cookie_of(browser))
    response = await browser.post(f"/api/platforms/{member.platform_ids[2]}/switch")
    assert (await response.get_json())["platform_connection_id"] == member.platform_ids[2]
    after = signer().loads(cookie_of(browser))
    assert after == before | {"platform_connection_id": member.platform_ids[2]}


async def test_clear_deletes_both_cookies(browser: Client) -> None:
    response = await browser.post("/api/logout")
    assert response.status_code == 204
    for name in ("session", "session_activity"):
        assert "Max-Age=0" in set_cookies(response)[name]
    assert (await browser.get("/api/session_state")).status_code == 401


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, timedelta(hours=8)),  # idle
        (
            {"limits": Limits(idle=timedelta(days=9), absolute=timedelta(days=2))},
            timedelta(days=1),  # the signed end: a longer setting doesn't move it
        ),
        (
            {"limits": Limits(idle=timedelta(days=9), absolute=timedelta(hours=1))},
            timedelta(hours=1),  # a shorter setting ends sessions that were signed before it
        ),
        ({"remembered": Limits(timedelta(hours=20), timedelta(days=30))}, timedelta(hours=20)),
        ({"remembered": Limits(timedelta(days=30), timedelta(hours=22))}, timedelta(hours=22)),
    ],
)
async def test_a_session_ends_at_its_limit(
    clock: Clock, changes: dict[str, Any], limit: timedelta
) -> None:
    if remembered := changes.get("remembered"):
        changes = {"remember_limits": remembered}
    client = plain_app(clock, **changes).test_client()
    await client.post("/create_remembered" if remembered else "/create")
    cookie = cookie_of(client)
    clock.advance(limit - SECOND)
    fresh = plain_app(clock, **changes).test_client()
    put_cookie(fresh, cookie)
    assert await logged_in_as(fresh) == 7
    clock.advance(SECOND)
    assert await logged_in_as(client) is None


async def test_activity_moves_the_idle_limit_and_not_the_absolute_one(clock: Clock) -> None:
    client = plain_app(clock).test_client()
    await client.post("/create")
    for _ in range(3):
        clock.advance(timedelta(hours=7))
        assert await logged_in_as(client) == 7
    clock.advance(timedelta(hours=3))
    assert await logged_in_as(client) is None


async def test_activity_is_written_once_a_window_and_leaves_the_session_cookie_alone(
    clock: Clock, *, thorough: bool
) -> None:
    client = plain_app(clock).test_client()
    await client.post("/create")
    minutes, written = 400 if thorough else 10, 0
    for _ in range(minutes * 25):  # a request every 2.4 s
        clock.advance(timedelta(seconds=2.4))
        cookies = set_cookies(await client.get("/validate"))
        assert set(cookies) <= {"session_activity"}
        written += len(cookies)
    assert written == minutes


@pytest.mark.parametrize("fate", ["lost", "another session's", "forged", "stale"])
async def test_another_activity_cookie_never_lengthens_a_session(clock: Clock, fate: str) -> None:
    client = plain_app(clock).test_client()
    await client.post("/create")
    created = clock()
    clock.advance(timedelta(hours=7))
    later = (clock() + timedelta(minutes=30)).isoformat()
    value = {
        "lost": "",
        "another session's": signer(salt="quart_app-activity").dumps(["B" * 22, later]),
        "forged": signer(OTHER_KEY, salt="quart_app-activity").dumps([SID, later]),
        "stale": signer(salt="quart_app-activity").dumps([SID, created.isoformat()]),
    }[fate]
    put_cookie(client, str(value), "session_activity")
    clock.advance(timedelta(hours=1))
    assert await logged_in_as(client) is None


async def test_what_is_not_activity_does_not_move_the_idle_limit(
    browser: Client, clock: Clock
) -> None:
    clock.advance(timedelta(hours=7))
    assert set_cookies(await browser.get("/api/session_state")) == {}
    clock.advance(timedelta(hours=1))
    assert (await browser.get("/api/session_state")).status_code == 401


async def test_renewing_is_activity_and_nothing_else(
    browser: Client, clock: Clock, statements: list[str]
) -> None:
    clock.advance(timedelta(hours=7))
    assert set(set_cookies(await browser.post("/api/session/renew"))) == {"session_activity"}
    clock.advance(timedelta(hours=7))
    assert (await browser.get("/api/session_state")).status_code == 200
    assert statements == []


# --- cookies that are no login -------------------------------------------------------------------


def login_payload(clock: Clock, **changes: Any) -> dict[str, Any]:
    now = clock().isoformat(timespec="microseconds")
    later = (clock() + timedelta(days=1)).isoformat(timespec="microseconds")
    return {
        "user_id": 7,
        "authenticated": True,
        "created_at": now,
        "last_activity": now,
        "expires_at": later,
        "remember": False,
        "sid": SID,
        "epoch": 0,
    } | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"sid": None},
        {"sid": "short"},
        {"sid": 5},
        {"sid": SID + "\n"},
        {"epoch": None},
        {"epoch": "0"},
        {"epoch": True},
        {"epoch": 0.0},
        {"user_id": "7"},
        {"user_id": True},
        {"authenticated": 1},
        {"authenticated": False},
        {"created_at": "yesterday"},
        {"created_at": "2025-01-09T12:00:00"},
        {"expires_at": None},
        {"last_activity": 5},
        {"remember": "yes"},
        {"platform_connection_id": "1"},
    ],
)
async def test_a_signed_cookie_that_lacks_something_is_no_login(
    clock: Clock, changes: dict[str, Any]
) -> None:
    client = plain_app(clock).test_client()
    put_cookie(client, str(signer().dumps(login_payload(clock))))
    assert await logged_in_as(client) == 7
    put_cookie(client, str(signer().dumps(login_payload(clock, **changes, colour="green"))))
    body = await (await client.get("/validate")).get_json()
    # What another application kept is there; what would look like our login is not.
    assert body == {"login": None, "session": {"colour": "green"}}


@pytest.mark.parametrize("key", ["created_at", "last_activity"])
async def test_a_time_more_than_a_minute_ahead_is_refused(clock: Clock, key: str) -> None:
    client = plain_app(clock).test_client()
    for ahead, expected in ((timedelta(seconds=60), 7), (timedelta(seconds=61), None)):
        moment = (clock() + ahead).isoformat()
        put_cookie(client, str(signer().dumps(login_payload(clock, **{key: moment}))))
        assert await logged_in_as(client) == expected


async def test_a_signature_from_the_future_is_refused(clock: Clock) -> None:
    client = plain_app(clock).test_client()
    clock.advance(-timedelta(seconds=50))
    put_cookie(client, str(signer().dumps(login_payload(clock))))  # signed by the real clock
    assert await logged_in_as(client) == 7
    clock.advance(-timedelta(seconds=15))
    put_cookie(client, str(signer().dumps(login_payload(clock))))
    assert await logged_in_as(client) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cookie: cookie[:-1],
        lambda cookie: cookie[: len(cookie) // 2],
        lambda cookie: cookie.replace(".", "", 1),
        lambda cookie: "." + cookie,
        lambda _: "",
        lambda _: "....",
        lambda _: "null",
        lambda _: "\u00e9\u00fc",
        lambda _: signer(OTHER_KEY).dumps({"user_id": 7}),
        lambda _: signer(salt="another").dumps({"user_id": 7}),
        lambda _: signer().dumps(["a", "list"]),
        lambda _: signer().dumps("text"),
        lambda _: json.dumps({"user_id": 7}),
        lambda _: "eyJhbGciOiJub25lIn0.eyJ1c2VyX2lkIjo3fQ.",  # a JWT
        lambda _: "A" * 12_000,
    ],
)
async def test_a_spoilt_cookie_is_no_login_and_no_error(
    clock: Clock, spoil: Callable[[str], str]
) -> None:
    app = plain_app(clock)
    client = app.test_client()
    await client.post("/create")
    cookie = str(spoil(cookie_of(client)))
    response = await app.test_client().get("/validate", headers={"Cookie": f"session={cookie}"})
    assert response.status_code == 200
    assert await response.get_json() == {"login": None, "session": {}}


@given(header=st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=200))
async def test_no_cookie_header_breaks_opening(header: str) -> None:
    client = plain_app(Clock()).test_client()
    response = await client.get("/validate", headers={"Cookie": f"session={header}"})
    assert await response.get_json() == {"login": None, "session": {}}


# --- keys and digests ----------------------------------------------------------------------------


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
@pytest.mark.parametrize("keys", [[SECRET_KEY], [OTHER_KEY, SECRET_KEY]])
async def test_either_digest_and_every_key_verifies(
    clock: Clock, digest: str, keys: list[str]
) -> None:
    client = plain_app(clock, keys=keys, digest=digest).test_client()
    for method in (hashlib.sha1, hashlib.sha256):
        put_cookie(client, str(signer(digest=method).dumps(login_payload(clock))))
        assert await logged_in_as(client) == 7
    await client.post("/switch/2")
    newest = signer(keys[0], digest=getattr(hashlib, digest))
    assert newest.loads(cookie_of(client))["platform_connection_id"] == 2


async def test_a_key_that_was_taken_away_verifies_nothing(clock: Clock) -> None:
    client = plain_app(clock, keys=[OTHER_KEY]).test_client()
    put_cookie(client, str(signer().dumps(login_payload(clock))))
    assert await logged_in_as(client) is None


# --- Flask ---------------------------------------------------------------------------------------


async def test_flask_reads_a_cookie_made_here(browser: Client, member: Member) -> None:
    peer = flask_app().test_client()
    peer.set_cookie("session", cookie_of(browser))
    read = peer.get("/read").get_json()
    assert read["user_id"] == member.id
    assert read["authenticated"] is True


async def test_a_cookie_made_by_flask_is_read_here(clock: Clock) -> None:
    peer = flask_app().test_client()
    peer.get("/write")
    cookie = peer.get_cookie("session")
    assert cookie is not None
    client = plain_app(clock).test_client()
    put_cookie(client, cookie.value)
    body = await (await client.get("/validate")).get_json()
    assert body["session"]["colour"] == "green"
    assert body["login"] is None


# --- answers -------------------------------------------------------------------------------------


async def test_only_login_logout_and_switch_write_the_session_cookie(
    browser: Client, member: Member, clock: Clock
) -> None:
    clock.advance(timedelta(minutes=5))
    one = member.platform_ids[1]
    others = [
        ("GET", "/", None),
        ("GET", "/platforms", None),
        ("GET", f"/platforms/{one}/remove", None),
        ("GET", "/account", None),
        ("GET", "/login", None),
        ("GET", "/nothing", None),
        ("GET", "/healthz", None),
        ("GET", "/readyz", None),
        ("GET", "/api/session_state", None),
        ("POST", "/api/session/renew", None),
        ("GET", "/api/platforms", None),
        ("GET", f"/api/platforms/{one}", None),
        ("PATCH", f"/api/platforms/{one}", {"name": "Other"}),
        ("POST", f"/api/platforms/{one}/default", None),
        ("DELETE", f"/api/platforms/{one}", None),
        (
            "POST",
            "/api/platforms",
            {
                "name": "New",
                "platform_type": "mastodon",
                "instance_url": "https://new.example",
                "access_token": "t",
                "verify": False,
            },
        ),
    ]
    for method, path, body in others:
        sent = {} if body is None else {"json": body}
        response = await browser.open(path, method=method, **sent)  # type: ignore[arg-type]
        assert response.status_code < 400 or path == "/nothing", path
        assert "session" not in set_cookies(response), path


async def test_a_crash_logs_nobody_in(clock: Clock) -> None:
    app = plain_app(clock)

    @app.post("/crash")
    async def crash() -> str:
        create_session(
            user_id=7,
            platform_connection_id=None,
            sid=SID,
            epoch=0,
            created_at=clock(),
            expires_at=clock() + SECOND,
            remember=False,
        )
        raise RuntimeError("after the session was made")

    @app.post("/unavailable")
    async def unavailable() -> Response:
        session["colour"] = "green"
        return Response("no", 503)

    for path, status in (("/crash", 500), ("/unavailable", 503)):
        response = await app.test_client().post(path)
        assert response.status_code == status
        assert set_cookies(response) == {}


def session_copy() -> object:
    return session.copy()  # type: ignore[attr-defined]


READS: dict[str, Callable[[], object]] = {
    "[]": lambda: session["user_id"],
    "get": lambda: session.get("user_id"),
    "in": lambda: "user_id" in session,
    "len": lambda: len(session),
    "bool": lambda: bool(session),
    "iter": lambda: list(session),
    "keys": lambda: list(session.keys()),
    "values": lambda: list(session.values()),
    "items": lambda: list(session.items()),
    "==": lambda: session == {},
    "copy": session_copy,
    "dict": lambda: dict(session),
    "**": lambda: dict(**session),
    "setdefault": lambda: session.setdefault("user_id", 1),
    "permanent": lambda: session.permanent,
    "validate": validate_session,
}


@pytest.mark.parametrize("way", READS)
async def test_an_answer_that_read_the_session_is_no_caches_business(
    clock: Clock, way: str
) -> None:
    app = plain_app(clock)

    @app.get("/read")
    async def read() -> str:
        READS[way]()
        return "read"

    @app.get("/unread")
    async def unread() -> str:
        return "unread"

    client = app.test_client()
    await client.post("/create")
    response = await client.get("/read")
    assert response.headers["Vary"] == "Cookie"
    assert response.headers["Cache-Control"] == "no-store"
    response = await client.get("/unread")
    assert "Vary" not in response.headers
    assert "Cache-Control" not in response.headers


async def test_vary_is_added_to_what_a_handler_said(clock: Clock) -> None:
    app = plain_app(clock)

    @app.get("/read")
    async def read() -> tuple[str, dict[str, str]]:
        return str(session.get("user_id")), {"Vary": "Accept"}

    response = await app.test_client().get("/read")
    assert response.headers["Vary"] == "Accept, Cookie"
    assert "Cache-Control" not in response.headers  # nobody is signed in


async def test_a_session_too_large_for_browsers_is_an_error(clock: Clock) -> None:
    app = plain_app(clock)
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.post("/fill")
    async def fill() -> str:
        session["much"] = secrets.token_hex(4096)  # nothing that compresses
        return "filled"

    response = await app.test_client().post("/fill")
    assert response.status_code == 500
    assert set_cookies(response) == {}
    assert issubclass(SessionTooLarge, ValueError)


async def test_one_request_can_not_change_what_another_was_given(clock: Clock) -> None:
    app = plain_app(clock)

    @app.post("/fill")
    async def fill() -> str:
        session["list"] = [1]
        return "filled"

    @app.get("/append")
    async def append() -> dict[str, Any]:
        session["list"].append(2)
        return dict(session)

    client = app.test_client()
    await client.post("/fill")
    for _ in range(3):
        assert await (await client.get("/append")).get_json() == {"list": [1, 2]}
