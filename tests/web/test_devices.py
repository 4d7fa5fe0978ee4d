"""A user's logins: the list, ending them, confirming with the password, and the limit."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import func, select

from quart_app.composition import Built
from quart_app.model import EndReason, Login
from quart_app.services import Services
from quart_app.services.sessions.steps.issuing import MOST_LIVE_LOGINS
from quart_app.web.pipeline.device_cookie import DeviceCookie
from tests.callers import NOBODY
from tests.conftest import (
    PASSWORD,
    Clock,
    Member,
    make_member,
    set_cookies,
)
from tests.conftest import log_in as log_in_as
from tests.web.test_session_ends import state_of

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)


async def device(app: Quart, member: Member, user_agent: str = FIREFOX) -> Client:
    client = app.test_client()
    response = await client.post(
        "/api/login",
        json={"username": member.username, "password": member.password},
        headers={"User-Agent": user_agent},
    )
    assert response.status_code == 200
    return client


async def sessions(client: Client) -> list[dict[str, Any]]:
    response = await client.get("/api/sessions")
    assert response.status_code == 200
    found: list[dict[str, Any]] = await response.get_json()
    return found


async def other_id(client: Client) -> int:
    (other,) = [each["id"] for each in await sessions(client) if not each["is_current"]]
    return int(other)


async def end(client: Client, path: str, password: str | None = None) -> Any:
    body = None if password is None else {"current_password": password}
    return (
        await client.open(path, method="DELETE", json=body) if body else await client.delete(path)
    )


# --- the list ------------------------------------------------------------------------------------


async def test_live_logins_are_listed_newest_first_with_the_current_one_marked(
    app: Quart, member: Member, clock: Clock
) -> None:
    laptop = await device(app, member)
    clock.advance(timedelta(minutes=1))
    phone = await device(app, member, IPHONE)
    first, second = await sessions(phone)
    assert (first["device"], second["device"]) == (
        "Mobile Safari 18 on iOS",
        "Firefox 140 on Linux",
    )
    assert (first["is_current"], second["is_current"]) == (True, False)
    assert first["address"] == "<local>"
    assert first["created_at"] > second["created_at"]
    assert set(first) == {"id", "created_at", "expires_at", "address", "device", "is_current"}
    clock.advance(timedelta(hours=23, minutes=59, seconds=30))
    await laptop.get("/api/session_state")
    assert len(await sessions(await device(app, member))) == 2  # the first has expired


async def test_the_page_describes_logins_in_words(app: Quart, member: Member, clock: Clock) -> None:
    await device(app, member, '<script>alert("x")</script>')
    clock.advance(timedelta(minutes=1))
    client = await device(app, member)
    text = await (await client.get("/devices")).get_data(as_text=True)
    assert "Firefox 140 on Linux" in text
    assert "An unknown program" in text
    assert "current session" in text
    assert "<script>" not in text


async def test_another_users_logins_are_not_found(
    app: Quart, member: Member, services: Services
) -> None:
    eve = await make_member(services, "eve")
    browser, hers = await device(app, member), await device(app, eve)
    (mine,) = await sessions(browser)
    assert len(await sessions(hers)) == 1
    assert (await hers.delete(f"/api/sessions/{mine['id']}")).status_code == 404
    assert (await hers.post(f"/devices/{mine['id']}/end")).status_code == 404
    assert (await hers.get(f"/devices/{mine['id']}/end")).status_code == 404
    assert await state_of(browser) == 200


async def test_the_list_contains_nothing_that_could_forge_a_session(
    app: Quart, member: Member
) -> None:
    client = await device(app, member)
    (sid,) = [each.value for each in client.cookie_jar or () if each.name == "session"]
    for path in ("/api/sessions", "/devices"):
        text = await (await client.get(path)).get_data(as_text=True)
        assert str(sid)[:30] not in text


# --- ending logins -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["json", "page"])
async def test_exactly_one_login_is_ended(app: Quart, member: Member, how: str) -> None:
    lost = await device(app, member, IPHONE)
    client = await device(app, member)
    third_of_another_day = await device(app, member)
    ids = {each["device"]: each["id"] for each in await sessions(client)}
    phone = ids["Mobile Safari 18 on iOS"]
    if how == "json":
        assert (await client.delete(f"/api/sessions/{phone}")).status_code == 204
    else:
        page = await (await client.get(f"/devices/{phone}/end")).get_data(as_text=True)
        assert "Mobile Safari 18 on iOS" in page
        response = await client.post(f"/devices/{phone}/end")
        assert response.headers["Location"] == "/devices"
    assert await state_of(lost) == 401
    assert await state_of(client) == await state_of(third_of_another_day) == 200
    assert phone not in {each["id"] for each in await sessions(client)}
    assert (await client.delete(f"/api/sessions/{phone}")).status_code == 404  # a second time


@pytest.mark.parametrize("path", ["/api/sessions", "/devices/others/end"])
async def test_all_other_logins_are_ended(
    app: Quart, member: Member, path: str, services: Services
) -> None:
    eve = await device(app, await make_member(services, "eve"))
    others = [await device(app, member) for _ in range(3)]
    client = await device(app, member)
    if path.startswith("/api"):
        assert (await client.delete(path)).status_code == 204
    else:
        assert "3 other sessions" in await (await client.get(path)).get_data(as_text=True)
        assert (await client.post(path)).status_code == 303
    assert [await state_of(each) for each in others] == [401, 401, 401]
    assert await state_of(client) == await state_of(eve) == 200
    assert len(await sessions(client)) == 1


@pytest.mark.parametrize("how", ["json", "page"])
async def test_ending_your_own_login_is_a_logout(app: Quart, member: Member, how: str) -> None:
    client = await device(app, member)
    (mine,) = await sessions(client)
    response = (
        await client.delete(f"/api/sessions/{mine['id']}")
        if how == "json"
        else await client.post(f"/devices/{mine['id']}/end")
    )
    assert response.status_code in {204, 303}
    assert "Max-Age=0" in set_cookies(response)["session"]
    assert response.headers["Clear-Site-Data"] == '"cache"'
    assert await state_of(client) == 401


# --- confirming with the password ----------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/sessions/{}", "/api/sessions"])
async def test_a_login_older_than_15_minutes_is_asked_for_the_password(
    app: Quart, member: Member, clock: Clock, path: str
) -> None:
    other = await device(app, member, IPHONE)
    client = await device(app, member)
    path = path.format(await other_id(client))
    clock.advance(timedelta(minutes=15, seconds=1))
    refused = await client.delete(path)
    assert refused.status_code == 403
    body = await refused.get_json()
    assert (body["code"], body["field"]) == ("password_needed", "current_password")
    wrong = await end(client, path, "not the password")
    assert (wrong.status_code, (await wrong.get_json())["code"]) == (401, "bad_credentials")
    assert await state_of(other) == 200
    assert (await end(client, path, PASSWORD)).status_code == 204
    assert await state_of(other) == 401


async def test_activity_does_not_make_a_login_recent(
    app: Quart, member: Member, clock: Clock
) -> None:
    await device(app, member, IPHONE)
    client = await device(app, member)
    clock.advance(timedelta(minutes=14))
    assert (await client.post("/api/session/renew")).status_code == 200
    clock.advance(timedelta(minutes=2))
    assert (await client.delete("/api/sessions")).status_code == 403


async def test_the_page_asks_for_the_password_only_if_it_is_needed(
    app: Quart, member: Member, clock: Clock
) -> None:
    other = await device(app, member, IPHONE)
    client = await device(app, member)
    for path in (f"/devices/{await other_id(client)}/end", "/devices/others/end"):
        assert "current-password" not in await (await client.get(path)).get_data(as_text=True)
    clock.advance(timedelta(minutes=16))
    for path in (f"/devices/{await other_id(client)}/end", "/devices/others/end"):
        assert "current-password" in await (await client.get(path)).get_data(as_text=True)
        missing = await client.post(path, form={"current_password": ""})
        assert missing.status_code == 403
        wrong = await client.post(path, form={"current_password": "not the password"})
        assert wrong.status_code == 401
        text = await wrong.get_data(as_text=True)
        assert 'aria-invalid="true"' in text
        assert "not the password" not in text
    assert await state_of(other) == 200
    done = await client.post("/devices/others/end", form={"current_password": PASSWORD})
    assert done.status_code == 303
    assert await state_of(other) == 401


# --- limits --------------------------------------------------------------------------------------


async def test_the_fifty_first_login_ends_the_oldest(
    app: Quart, member: Member, services: Services, built: Built, clock: Clock
) -> None:
    oldest = await device(app, member)
    clock.advance(timedelta(seconds=1))
    second = await device(app, member)
    for _ in range(MOST_LIVE_LOGINS - 2):
        clock.advance(timedelta(seconds=1))
        await services.accounts.log_in(NOBODY, login_name=member.username, password=PASSWORD)
    assert await state_of(oldest) == 200
    clock.advance(timedelta(seconds=1))
    newest = await device(app, member)
    assert [await state_of(each) for each in (oldest, second, newest)] == [401, 200, 200]
    assert len(await sessions(newest)) == MOST_LIVE_LOGINS
    async with built.database.read() as db:
        (ended,) = await db.scalars(select(Login).where(Login.ended_at.is_not(None)))
    assert ended.end_reason == EndReason.TOO_MANY


async def test_fifty_concurrent_logins_are_fifty_rows(
    app: Quart, member: Member, built: Built
) -> None:
    clients = [app.test_client() for _ in range(50)]
    await asyncio.gather(*(log_in_as(client, member) for client in clients))
    async with built.database.read() as db:
        assert await db.scalar(select(func.count()).select_from(Login)) == 50
    assert [await state_of(client) for client in clients] == [200] * 50


async def test_logins_are_purged_a_week_after_they_expired(
    built: Built, member: Member, services: Services, clock: Clock
) -> None:
    clock.advance(-timedelta(days=9))
    await services.accounts.log_in(NOBODY, login_name=member.username, password=PASSWORD)
    clock.advance(timedelta(days=9))
    await services.accounts.log_in(NOBODY, login_name=member.username, password=PASSWORD)
    await services.login_records.purge()
    async with built.database.read() as db:
        (kept,) = await db.scalars(select(Login))
    assert kept.created_at == clock()


pytestmark = pytest.mark.sqlite_unless_thorough


async def test_the_device_cookie_is_verified_only_where_a_password_is_checked(
    app: Quart, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, verified = await device(app, member), []
    verify = DeviceCookie._read

    def note(cookie: DeviceCookie, value: str) -> Any:
        verified.append(value)
        return verify(cookie, value)

    monkeypatch.setattr(DeviceCookie, "_read", note)
    assert (await client.get("/devices")).status_code == 200
    assert verified == []
    await log_in_as(client, member)
    assert len(verified) == 1
