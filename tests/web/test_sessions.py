"""Sessions: create, validate, switch, clear, and their guarantees.

This file can be run alone: `scripts/test tests/web/test_sessions.py`.
"""

from datetime import timedelta
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client

from quart_app.settings import Settings, with_setting
from tests.conftest import Clock, MakeApp, Member, log_in, set_cookies
from tests.session.applications import (
    cookie_of,
    flask_app,
    login_payload,
    put_cookie,
    signer,
)

# The statements have tests of their own on both engines.
pytestmark = pytest.mark.sqlite_unless_thorough

# --- the four use cases --------------------------------------------------------------------------


async def test_create_signs_exactly_the_documented_keys(
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


async def test_every_login_has_a_different_sid(app: Quart, member: Member) -> None:
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


async def test_validate_executes_no_query(browser: Client, statements: list[str]) -> None:
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


async def test_switch_changes_only_the_platform(browser: Client, member: Member) -> None:
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


async def test_requests_that_are_not_activity_leave_the_idle_limit_unchanged(
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


# --- claims of this application ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "is_login"),
    [
        ({}, True),
        ({"platform_connection_id": None}, True),
        ({"platform_connection_id": 2**31 - 1}, True),
        ({"platform_connection_id": 2**31}, False),
        ({"platform_connection_id": "1"}, False),
        ({"platform_connection_id": True}, False),
        ({"platform_connection_id": 0}, False),
        ({"user_id": "7"}, False),
        ({"user_id": 2**31}, False),
        ({"user_id": True}, False),
    ],
)
async def test_ids_in_a_cookie_are_limited_to_row_ids(
    visitor: Client, clock: Clock, changes: dict[str, Any], *, is_login: bool
) -> None:
    put_cookie(visitor, str(signer().dumps(login_payload(clock, **changes))))
    response = await visitor.get("/api/session_state")
    assert response.status_code == (200 if is_login else 401)


# --- Flask ---------------------------------------------------------------------------------------


async def test_flask_reads_our_cookie(browser: Client, member: Member) -> None:
    peer = flask_app().test_client()
    peer.set_cookie("session", cookie_of(browser))
    read = peer.get("/read").get_json()
    assert read["user_id"] == member.id
    assert read["authenticated"] is True


# --- responses -----------------------------------------------------------------------------------


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
