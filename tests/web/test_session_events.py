"""The event stream over HTTP: access, headers and events."""

import asyncio
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client

from quart_app.services import Services
from quart_app.services.sessions import events as events_service
from tests.conftest import Clock, Member, log_in, make_member, set_cookies

PATH = "/api/session_events"
SIGN_OF_LIFE = b":\n\n"


@pytest.fixture
async def browser(app: Quart, browser: Client) -> Client:
    """A member's browser with no stream that would tell it about changes of the current account."""
    events = app.extensions["quart_app"].events
    await events.catch_up()
    events._recent.clear()
    return browser


def read_event(text: bytes) -> tuple[str, Any]:
    kind, data, *end = text.decode().split("\n")
    assert end == ["", ""]
    return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def test_the_stream_forbids_proxy_buffering(browser: Client) -> None:
    async with browser.request(PATH) as connection:
        stream: Any = connection  # its protocol does not tell the length of the headers
        await stream.send_complete()
        assert await stream.receive() == SIGN_OF_LIFE
        headers = stream.headers
        assert stream.status_code == 200
        assert headers is not None
        assert headers["Content-Type"] == "text/event-stream"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Accel-Buffering"] == "no"
        assert "Content-Length" not in headers
        await stream.disconnect()


@pytest.mark.parametrize("headers", [{}, {"Cookie": "session=x"}, {"Last-Event-ID": "7"}])
async def test_a_visitor_gets_no_stream(visitor: Client, headers: dict[str, str]) -> None:
    response = await visitor.get(PATH, headers=headers)
    assert response.status_code == 401
    assert (await response.get_json(force=True))["code"] == "not_logged_in"


async def test_head_and_other_methods_are_answered_at_once(browser: Client) -> None:
    response = await browser.head(PATH)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    assert (await browser.post(PATH)).status_code == 405


async def test_listening_is_not_activity_and_ends_when_idle(
    app: Quart, browser: Client, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_service, "HEARTBEAT_SECONDS", 0.05)
    clock.advance(timedelta(minutes=2))  # so that activity would be stored
    async with browser.request(PATH) as stream:
        await stream.send_complete()
        assert await stream.receive() == SIGN_OF_LIFE
        assert not set_cookies(stream)
        assert await stream.receive() == SIGN_OF_LIFE  # again and again
        clock.advance(timedelta(hours=8))
        while (text := await stream.receive()) == SIGN_OF_LIFE:
            pass
        assert read_event(text) == ("ended", {"reason": "idle"})
        await stream.disconnect()
    assert (await browser.get(PATH)).status_code == 401
    await asyncio.sleep(0.1)
    assert len(app.extensions["quart_app"].events) == 0


async def test_activity_in_this_process_keeps_the_stream_open(
    browser: Client, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_service, "HEARTBEAT_SECONDS", 0.05)
    async with browser.request(PATH) as stream:
        await stream.send_complete()
        assert await stream.receive() == SIGN_OF_LIFE
        for _ in range(2):
            clock.advance(timedelta(hours=5))
            assert (await browser.post("/api/session/renew")).status_code == 200
            assert await stream.receive() == SIGN_OF_LIFE
            assert await stream.receive() == SIGN_OF_LIFE
        await stream.disconnect()


async def test_a_slow_reader_gets_the_latest_event_of_each_kind(
    app: Quart, browser: Client
) -> None:
    events = app.extensions["quart_app"].events
    async with browser.request(PATH) as stream:
        await stream.send_complete()
        assert await stream.receive() == SIGN_OF_LIFE
        (one,) = events._all()
        for number in range(10_000):
            one.queue(events_service.Kind.PLATFORM, platform_connection_id=number)
            one.queue(events_service.Kind.PLATFORMS)
        assert len(one.waiting) == 2
        assert read_event(await stream.receive()) == (
            "platform",
            {"platform_connection_id": 9_999},
        )
        assert read_event(await stream.receive()) == ("platforms", {})
        # An end replaces all other events, and is the last one.
        one.queue(events_service.Kind.PLATFORMS)
        one.queue(events_service.Kind.ENDED, reason="idle")
        one.queue(events_service.Kind.PLATFORMS)
        assert read_event(await stream.receive()) == ("ended", {"reason": "idle"})
        await stream.disconnect()


async def test_a_stopping_process_opens_no_stream(app: Quart, browser: Client) -> None:
    app.extensions["quart_app"].events.stop()
    response = await browser.get(PATH)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "0"


async def test_a_session_is_renewed_on_request(browser: Client, clock: Clock) -> None:
    clock.advance(timedelta(seconds=10))  # less than a renewal window
    assert not set_cookies(await browser.get("/account"))
    response = await browser.post("/api/session/renew")
    assert set(set_cookies(response)) == {"session_activity"}
    state = await response.get_json()
    assert state["last_activity"] == state["now"]


FORMS = {
    "/platforms/2/rename": {"name": "Fourth"},
    "/platforms/2/remove": {},
}


@pytest.mark.parametrize("path", FORMS)
async def test_a_form_made_for_another_account_is_shown_again_with_its_input(
    browser: Client, member: Member, path: str
) -> None:
    html = await (await browser.get(path)).get_data(as_text=True)
    first, second, _ = member.platform_ids
    carried = 'name="platform_connection_id" value="{}"'
    assert carried.format(first) in html
    await browser.post(f"/api/platforms/{second}/switch")
    before = await (await browser.get("/api/platforms")).get_json()
    form = {**FORMS[path], "platform_connection_id": str(first)}
    response = await browser.post(path, form=form)
    html = await response.get_data(as_text=True)
    assert response.status_code == 409
    assert "Nothing was done" in html
    assert carried.format(second) in html
    assert ('value="Fourth"' in html) is ("name" in form)
    assert await (await browser.get("/api/platforms")).get_json() == before
    response = await browser.post(path, form=form | {"platform_connection_id": str(second)})
    assert response.status_code == 303


async def test_a_form_for_a_removed_connection_is_not_found(
    browser: Client, member: Member
) -> None:
    _, second, third = member.platform_ids
    await browser.delete(f"/api/platforms/{second}")
    form = {"name": "x", "platform_connection_id": str(third)}
    assert (await browser.post(f"/platforms/{second}/rename", form=form)).status_code == 404


async def test_a_form_made_without_a_current_account_says_so(
    browser: Client, member: Member
) -> None:
    second = member.platform_ids[1]
    for id_ in member.platform_ids:
        await browser.patch(f"/api/platforms/{id_}", json={"is_active": False})
    path = f"/platforms/{second}/rename"
    html = await (await browser.get(path)).get_data(as_text=True)
    assert 'name="platform_connection_id" value="none"' in html
    form = {"name": "Fourth", "platform_connection_id": "none"}
    assert (await browser.post(path, form=form)).status_code == 303
    await browser.patch(f"/api/platforms/{second}", json={"is_active": True})
    await browser.post(f"/api/platforms/{second}/switch")
    assert (await browser.post(path, form=form | {"name": "Fifth"})).status_code == 409


async def test_a_form_of_another_users_page_is_refused(
    app: Quart, services: Services, browser: Client, member: Member
) -> None:
    """Neither has a current account, so that only the user shows whose form it is."""
    other = await make_member(services, "eve")
    for each in (member, other):
        await log_in(browser, each)
        for id_ in each.platform_ids:
            assert (await browser.delete(f"/api/platforms/{id_}")).status_code == 204
    await log_in(app.test_client(), other)  # eve sees an alert about it
    forms = {
        "/platforms/new/token": {
            "name": "Fourth",
            "platform_type": "mastodon",
            "instance_url": "localhost",
            "access_token": "a-token",
            "platform_connection_id": "none",
        },
        "/account/it_was_me": {"up_to": "99"},
        "/account/not_me": {},
        "/logout_all": {},
        "/devices/others/end": {},
    }
    for path, form in forms.items():
        response = await browser.post(path, form=form | {"user_id": str(member.id)})
        html = await response.get_data(as_text=True)
        assert (path, response.status_code) == (path, 409)
        assert "Another user logged in after you opened this page" in html
        # Not the form again: its input belongs to another user, and would be saved as this one's.
        assert "Fourth" not in html
    html = await (await browser.get("/")).get_data(as_text=True)
    assert "Was this you?" in html
    assert f'name="user_id" value="{other.id}"' in html
    for path, form in forms.items():
        response = await browser.post(path, form=form | {"user_id": str(other.id)})
        accepted = 502 if path == "/platforms/new/token" else 303  # no server is asked
        assert (path, response.status_code) == (path, accepted)
        await log_in(browser, other)


async def test_each_form_carries_the_user_of_its_page(
    root: Client, browser: Client, app: Quart, member: Member
) -> None:
    await log_in(app.test_client(), member)  # the member sees an alert about it
    id_, seen = member.platform_ids[1], set()
    for client, user_id, paths in (
        (browser, member.id, ("/", "/platforms", f"/platforms/{id_}/rename", "/account")),
        (browser, member.id, ("/platforms/new/token", "/platforms/find")),
        (browser, member.id, (f"/platforms/{id_}/remove", "/devices/others/end")),
        (browser, member.id, ("/logout_all", "/account/not_me")),
        (root, 2, ("/admin/users/new", "/admin/users/1/role", "/admin/sessions/all/end")),
    ):
        for path in paths:
            html = await (await client.get(path)).get_data(as_text=True)
            forms = re.findall(
                r'<form[^>]*method="post" action="([^"]+)"[^>]*>(.*?)</form>', html, re.DOTALL
            )
            for action, form in forms:
                seen.add(re.sub("[0-9]+", "1", action))
                is_said = f'name="user_id" value="{user_id}"' in form
                assert (path, action, is_said) == (path, action, action != "/logout")
    assert len(seen) >= 14


async def test_a_login_after_a_late_form_returns_to_the_page_of_the_form(
    visitor: Client, member: Member
) -> None:
    for referer, location in (
        ("http://localhost/platforms/2/rename?x=1", "/login?next=/platforms/2/rename?x%3D1"),
        ("http://evil.example/platforms", "/login"),
        ("http://localhost", "/login"),
        ("http://[", "/login"),
        ("", "/login"),
    ):
        response = await visitor.post(
            "/platforms/2/rename", form={"name": "x"}, headers={"Referer": referer}
        )
        assert response.status_code == 303
        assert response.headers["Location"] == location
    await log_in(visitor, member)


pytestmark = pytest.mark.sqlite_unless_thorough
