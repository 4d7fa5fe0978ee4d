"""Lists in the API page by page, and a user with the maximum number of connections."""

import re
from datetime import timedelta
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client

from quart_app.composition import Built
from quart_app.model import User
from quart_app.services import Services
from quart_app.settings import Settings, with_setting
from tests.callers import caller_of
from tests.conftest import PASSWORD, Clock, MakeApp, Member, log_in
from tests.services.test_platform_limits import add_many, add_rows

pytestmark = pytest.mark.sqlite_unless_thorough
NEXT = re.compile(r'<([^>]+)>; rel="next"')


async def pages_of(browser: Client, path: str) -> list[list[Any]]:
    """Follow a list's links to its end."""
    pages = []
    while path:
        response = await browser.get(path)
        assert response.status_code == 200
        pages.append(await response.get_json())
        link = NEXT.fullmatch(response.headers.get("Link", ""))
        path = link[1] if link else ""
    return pages


@pytest.mark.parametrize("limit", [1, 2, 200])
async def test_the_list_of_connections_leads_from_page_to_page(
    browser: Client, built: Built, member: Member, limit: int
) -> None:
    names = ["Ä & B = ?", "a/b#c%20d", "写真", "x" * 100]
    await add_rows(built, member, [{"name": name} for name in names])
    pages = await pages_of(browser, f"/api/platforms?limit={limit}")
    assert all(len(each) <= limit for each in pages)
    found = [each["name"] for page in pages for each in page]
    assert sorted(found) == sorted([*names, "Platform 1", "Platform 2", "Platform 3"])
    sought = await pages_of(browser, f"/api/platforms?limit={limit}&sought=PLATFORM")
    assert [each["name"] for page in sought for each in page] == [
        f"Platform {n}" for n in (1, 2, 3)
    ]


async def test_a_request_without_a_page_gets_two_hundred_connections(
    browser: Client, built: Built, member: Member
) -> None:
    await add_many(built, member, 197)
    response = await browser.get("/api/platforms")
    assert len(await response.get_json()) == 200
    assert "Link" not in response.headers
    await add_rows(built, member, [{"name": "One more"}])
    response = await browser.get("/api/platforms")
    assert len(await response.get_json()) == 200
    assert NEXT.fullmatch(response.headers["Link"])
    assert [len(each) for each in await pages_of(browser, "/api/platforms")] == [200, 1]


async def test_a_page_can_begin_after_a_removed_connection(
    browser: Client, services: Services, member: Member
) -> None:
    response = await browser.get("/api/platforms?limit=1")
    (link,) = NEXT.findall(response.headers["Link"])
    await services.removal.remove(caller_of(member.id), member.platform_ids[0])
    listed = await (await browser.get(link)).get_json()
    assert [each["id"] for each in listed] == [member.platform_ids[1]]


async def test_the_list_of_sessions_leads_from_page_to_page(
    app: Quart, browser: Client, member: Member, clock: Clock
) -> None:
    for _ in range(4):
        clock.advance(timedelta(seconds=1))
        await log_in(app.test_client(), member)
    (whole,) = await pages_of(browser, "/api/sessions")
    assert len(whole) == 5
    pages = await pages_of(browser, "/api/sessions?limit=2")
    assert [len(each) for each in pages] == [2, 2, 1]
    assert [each for page in pages for each in page] == whole
    assert [each["is_current"] for each in whole] == [False] * 4 + [True]
    times = [each["created_at"] for each in whole]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("path", ["/api/platforms", "/api/sessions"])
@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", "9" * 5000])
async def test_an_invalid_limit_is_refused_by_name(browser: Client, path: str, limit: str) -> None:
    response = await browser.get(path, query_string={"limit": limit})
    problem = await response.get_json(force=True)
    assert (response.status_code, problem["code"], problem["field"]) == (
        422,
        "invalid_input",
        "limit",
    )


async def test_the_api_refuses_one_account_too_many(
    settings: Settings, make_app: MakeApp, member: Member
) -> None:
    app = await make_app(with_setting(settings, platforms_per_user=3))
    client = app.test_client()
    await log_in(client, member)
    form = {
        "name": "Fourth",
        "platform_type": "mastodon",
        "instance_url": "fourth.example",
        "access_token": "a-token",
    }
    response = await client.post("/api/platforms", json={**form, "verify": False})
    assert response.status_code == 409
    assert (await response.get_json(force=True))["code"] == "too_many_platforms"


async def test_legacy_spellings_are_shown_as_one_account_and_break_no_page(
    browser: Client, built: Built, member: Member
) -> None:
    urls = ["https://Server.Example/", "http://server.example/@me", "server.example:443", "no url"]
    await add_rows(
        built,
        member,
        [
            {"name": f"Legacy {at}", "instance_url": url, "username": "@Rosa@SERVER.example"}
            for at, url in enumerate([*urls, "https://[::1", "https://straße.example."])
        ],
    )
    listed = await (await browser.get("/api/platforms?sought=legacy")).get_json()
    assert [(each["instance_url"], each["username"]) for each in listed] == [
        *[("https://server.example", "Rosa")] * 3,
        ("no url", "Rosa@server.example"),
        ("https://[::1", "Rosa@server.example"),
        ("https://xn--strae-oqa.example", "Rosa@server.example"),
    ]
    for path in ("/", "/platforms", "/platforms/find", "/account"):
        html = await (await browser.get(path)).get_data(as_text=True)
        assert html.count("<bdi>@Rosa</bdi>@<bdi>server.example</bdi>") >= 3
    for each in listed:
        assert (await browser.post(f"/api/platforms/{each['id']}/switch")).status_code == 200
        html = await (await browser.get("/")).get_data(as_text=True)
        assert each["name"] in html


async def test_switching_the_current_account_off_falls_back_to_the_default_or_the_oldest(
    app: Quart, browser: Client, member: Member
) -> None:
    first, second, third = member.platform_ids
    elsewhere = app.test_client()
    await log_in(elsewhere, member)
    response = await browser.post(f"/platforms/{first}/deactivate", form={"next": "/platforms"})
    html = await (await browser.get(response.headers["Location"])).get_data(as_text=True)
    assert "Account switched off. Your current account is now <bdi>Platform 2</bdi>." in html
    html = await (await elsewhere.get("/")).get_data(as_text=True)  # updates the other session
    assert (
        "Your last account was removed or switched off."
        " Your current account is now <bdi>Platform 2</bdi>." in html
    )
    for client in (browser, elsewhere):
        html = await (await client.get("/")).get_data(as_text=True)
        assert f'data-platform-connection-id="{second}"' in html
        assert "is now" not in html
        state = await (await client.get("/api/session_state")).get_json()
        assert state["platform_connection_id"] == second
    listed = await (await browser.get("/api/platforms")).get_json()
    assert not any(each["is_default"] for each in listed)
    await browser.post(f"/api/platforms/{third}/default")
    await browser.patch(f"/api/platforms/{second}", json={"is_active": False})
    state = await (await browser.get("/api/session_state")).get_json()
    assert state["platform_connection_id"] == third
    response = await browser.post(f"/platforms/{third}/remove", form={"next": "/platforms"})
    html = await (await browser.get(response.headers["Location"])).get_data(as_text=True)
    assert "You have no account in use now." in html
    state = await (await browser.get("/api/session_state")).get_json()
    assert state["platform_connection_id"] is None


async def test_an_unattended_page_does_not_change_the_current_account(
    app: Quart, browser: Client, member: Member
) -> None:
    first, second, _ = member.platform_ids
    elsewhere = app.test_client()
    await log_in(elsewhere, member)
    await browser.delete(f"/api/platforms/{first}")
    response = await elsewhere.get("/", headers={"X-Unattended": "true"})
    assert "No current account" in await response.get_data(as_text=True)
    state = await (await elsewhere.get("/api/session_state")).get_json()
    assert state["platform_connection_id"] == first
    html = await (await elsewhere.get("/")).get_data(as_text=True)
    assert f'data-platform-connection-id="{second}"' in html


async def test_a_login_says_that_the_default_is_switched_off(
    app: Quart, built: Built, member: Member
) -> None:
    await add_rows(built, member, [{"name": "Off", "is_active": False}])
    async with built.database.begin() as db:
        user = await db.get(User, member.id)
        assert user
        user.default_platform_connection_id = member.platform_ids[2] + 1
    client = app.test_client()
    await client.post("/login", form={"username": member.username, "password": PASSWORD})
    html = await (await client.get("/")).get_data(as_text=True)
    assert "Your default account, <bdi>Off</bdi>, is switched off." in html
    state = await (await client.get("/api/session_state")).get_json()
    assert state["platform_connection_id"] == member.platform_ids[0]
