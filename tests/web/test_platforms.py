"""Platform connections over JSON and on pages: list, add, change, switch, remove."""

import asyncio
from typing import Any

import pytest
from quart import Quart, Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import text

from quart_app.services import Services
from tests.callers import caller_of
from tests.conftest import Member, log_in, make_member, set_cookies

TOKEN = "another-secret-token"
GARDEN = {
    "name": "Garden",
    "platform_type": "pixelfed",
    "instance_url": "garden.example",
    "access_token": TOKEN,
    "username": "rosa",
}
NOT_FOUND_IDS = ["other", 0, 999, 2**31 - 1, 2**31, 2**63 - 1, 2**63, "9" * 5000, "-1", "x"]


async def add(browser: Client, **changes: Any) -> Response:
    return await browser.post("/api/platforms", json={**GARDEN, "verify": False, **changes})


async def body_of(response: Response) -> Any:
    return await response.get_json(force=True)


async def connections(browser: Client) -> dict[int, Any]:
    """Return the API's list by id."""
    return {each["id"]: each for each in await body_of(await browser.get("/api/platforms"))}


async def active(browser: Client) -> int | None:
    state = await body_of(await browser.get("/api/session_state"))
    return state["platform_connection_id"]  # type: ignore[no-any-return]


async def default(browser: Client) -> int | None:
    found = [number for number, each in (await connections(browser)).items() if each["is_default"]]
    assert len(found) <= 1
    return found[0] if found else None


async def add_reference_to(services: Services, platform_id: int) -> None:
    async with services.accounts.database.begin() as db:
        await db.execute(
            text(
                "CREATE TABLE posts (id INTEGER PRIMARY KEY, platform_connection_id INTEGER"
                " REFERENCES platform_connections (id))"
            )
        )
        await db.execute(text("INSERT INTO posts VALUES (1, :id)"), {"id": platform_id})


# --- JSON --------------------------------------------------------------------------------------


async def test_connections_are_listed_by_name(browser: Client, member: Member) -> None:
    listed = await body_of(await browser.get("/api/platforms"))
    assert [each["id"] for each in listed] == list(member.platform_ids)
    assert listed[0] | {"created_at": None} == {
        "id": member.platform_ids[0],
        "name": "Platform 1",
        "platform_type": "mastodon",
        "instance_url": "https://mastodon1.example",
        "username": "ada",
        "is_active": True,
        "is_default": True,
        "created_at": None,
        "last_used": None,
        "state": "active",
        "expires_soon": False,
        **dict.fromkeys(("display_name", "profile_url", "software")),
        **dict.fromkeys(("checked_at", "token_expires_at")),
    }


async def test_a_user_adds_a_connection(browser: Client, member: Member) -> None:
    response = await add(browser)
    added = await body_of(response)
    assert response.status_code == 201
    assert (added["name"], added["instance_url"]) == ("Garden", "https://garden.example")
    assert added["is_active"]
    assert not added["is_default"]
    assert await body_of(await browser.get(f"/api/platforms/{added['id']}")) == added
    assert (await connections(browser))[added["id"]] == added
    assert await active(browser) == member.platform_ids[0]


async def test_the_first_connection_becomes_the_default(
    visitor: Client, services: Services, member: Member
) -> None:
    for platform_id in member.platform_ids:
        await services.removal.remove(caller_of(member.id), platform_id)
    assert (await log_in(visitor, member))["platform_connection_id"] is None
    added = await body_of(await add(visitor))
    assert added["is_default"]
    assert await active(visitor) is None
    assert (await log_in(visitor, member))["platform_connection_id"] == added["id"]


@pytest.mark.parametrize(
    ("changes", "status", "code", "field"),
    [
        ({"name": "Platform 1"}, 409, "name_taken", "name"),
        ({"name": "  Platform 1 "}, 409, "name_taken", "name"),
        (
            {"instance_url": "https://mastodon1.example/", "username": "ada"},
            409,
            "account_taken",
            "username",
        ),
        ({"platform_type": "friendica"}, 422, "invalid_input", "platform_type"),
        ({"name": " "}, 422, "invalid_input", "name"),
        ({"name": "a\u0007"}, 422, "invalid_input", "name"),
        (
            {"instance_url": "https://mastodon1.example/", "username": "@ADA"},
            409,
            "account_taken",
            "username",
        ),
        *(
            ({"username": username}, 422, "invalid_input", "username")
            for username in ("@", " rosa", "rosa ", "ro\u0007sa", "\u200d", "ro\u202esa")
        ),
        *(
            ({"access_token": token}, 422, "invalid_input", "access_token")
            for token in (" ", "Bearer ", "x y", "x\u00a0y", "x\u0007", "x\u2028y")
        ),
        *(
            ({"instance_url": url}, 422, "invalid_input", "instance_url")
            for url in (
                "http://garden.example",
                "https://garden.example/path",
                "https://garden.example?query",
                "https://rosa@garden.example",
                "https://garden.example:99999",
                "https://a..b",
                "https://",
                "javascript:alert(1)",
            )
        ),
    ],
)
async def test_an_invalid_connection_is_refused_and_not_stored(
    browser: Client, changes: dict[str, Any], status: int, code: str, field: str
) -> None:
    before = await connections(browser)
    response = await add(browser, **changes)
    problem = await body_of(response)
    assert (response.status_code, problem["code"], problem["field"]) == (status, code, field)
    assert await connections(browser) == before


async def test_two_users_may_use_the_same_name(
    app: Quart, browser: Client, services: Services
) -> None:
    other = app.test_client()
    await log_in(other, await make_member(services, "ben"))
    assert [(await add(each)).status_code for each in (browser, other)] == [201, 201]


async def test_only_one_of_several_concurrent_requests_adds_a_name(browser: Client) -> None:
    for name in ("first", "second", "third"):
        answers = await asyncio.gather(
            *(add(browser, name=name, username=f"{name}{number}") for number in range(4))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert len(await connections(browser)) == 6


async def test_a_user_renames_a_connection_and_switches_it_off(
    browser: Client, member: Member
) -> None:
    first, second, _ = member.platform_ids
    path = f"/api/platforms/{second}"
    before = (await connections(browser))[second]
    assert await body_of(await browser.patch(path, json={})) == before
    renamed = await body_of(await browser.patch(path, json={"name": "Renamed"}))
    assert renamed == before | {"name": "Renamed"}
    off = await body_of(await browser.patch(path, json={"is_active": False}))
    assert off == renamed | {"is_active": False, "state": "disabled"}
    for action in ("switch", "default"):
        refused = await browser.post(f"{path}/{action}")
        assert refused.status_code == 409
        assert (await body_of(refused))["code"] == "platform_inactive"
    assert (await active(browser), await default(browser)) == (first, first)
    taken = await browser.patch(path, json={"name": "Platform 1", "is_active": True})
    assert taken.status_code == 409
    assert (await connections(browser))[second] == off
    assert (await browser.patch(path, json={"name": "Renamed"})).status_code == 200


async def test_a_user_switches_and_the_next_login_starts_with_the_default(
    browser: Client, member: Member
) -> None:
    first, second, third = member.platform_ids
    for platform_id in (second, third, third):
        response = await browser.post(f"/api/platforms/{platform_id}/switch")
        assert response.status_code == 200
        assert (await body_of(response))["platform_connection_id"] == platform_id
        assert await active(browser) == platform_id
    assert (await connections(browser))[third]["last_used"]
    assert await default(browser) == first
    response = await browser.post(f"/api/platforms/{second}/default")
    assert (await body_of(response))["is_default"]
    assert (await default(browser), await active(browser)) == (second, third)
    assert (await log_in(browser, member))["platform_connection_id"] == second


async def test_removing_the_current_default_falls_back_and_its_id_is_not_reused(
    browser: Client, member: Member
) -> None:
    first, second, third = member.platform_ids
    response = await browser.delete(f"/api/platforms/{first}")
    assert (response.status_code, await response.get_data()) == (204, b"")
    assert await active(browser) == second  # the oldest one in use
    assert await default(browser) is None
    assert list(await connections(browser)) == [second, third]
    assert (await browser.delete(f"/api/platforms/{third}")).status_code == 204
    assert await active(browser) == second
    assert not set_cookies(await browser.delete(f"/api/platforms/{third}"))
    assert (await body_of(await add(browser)))["id"] > third


async def test_a_referenced_connection_is_not_removed(
    browser: Client, member: Member, services: Services
) -> None:
    first = member.platform_ids[0]
    await add_reference_to(services, first)
    response = await browser.delete(f"/api/platforms/{first}")
    problem = await body_of(response)
    assert (response.status_code, problem["code"]) == (409, "in_use")
    page = await browser.post(f"/platforms/{first}/remove")
    assert page.status_code == 409
    assert problem["title"].replace("'", "&#39;") in await page.get_data(as_text=True)
    assert (await active(browser), await default(browser)) == (first, first)


@pytest.mark.parametrize("which", NOT_FOUND_IDS, ids=lambda which: str(which)[:20])
async def test_another_users_connection_is_not_found(
    browser: Client, services: Services, which: str | int
) -> None:
    ben = await make_member(services, "ben")
    number = ben.platform_ids[0] if which == "other" else which
    before = await connections(browser)
    path = f"/api/platforms/{number}"
    answers = [
        await browser.get(path),
        await browser.patch(path, json={"name": "Mine"}),
        await browser.delete(path),
        await browser.post(f"{path}/switch"),
        await browser.post(f"{path}/default"),
    ]
    answers += [
        await browser.post(f"/platforms/{number}/{action}")
        for action in ("switch", "default", "activate", "remove")
    ]
    answers.append(await browser.get(f"/platforms/{number}/remove"))
    assert {answer.status_code for answer in answers} == {404}
    assert not any(set_cookies(answer) for answer in answers)
    if which in {"other", 999}:
        bodies = {await answer.get_data() for answer in answers[:5]}
        assert len(bodies) == 1
        assert b"You have no such account." in bodies.pop()
    assert await connections(browser) == before
    assert len((await services.platforms.list_of(caller_of(ben.id))).items) == 3


async def test_credentials_are_encrypted_and_in_no_response(
    browser: Client, services: Services
) -> None:
    added = await add(browser)
    number = (await body_of(added))["id"]
    path = f"/api/platforms/{number}"
    answers = [
        added,
        await browser.get("/api/platforms"),
        await browser.get(path),
        await browser.patch(path, json={"name": "Renamed"}),
        await browser.post(f"{path}/switch"),
        await browser.post(f"{path}/default"),
        await browser.get("/"),
        await browser.get("/platforms"),
        await browser.get(f"/platforms/{number}/remove"),
        await add(browser),
    ]
    async with services.accounts.database.read() as db:
        query = text("SELECT access_token FROM platform_connections WHERE id = :id")
        stored = (await db.execute(query, {"id": number})).scalar_one()
    assert TOKEN not in stored
    assert services.platforms.credentials.unseal(stored) == TOKEN
    for answer in answers:
        body = await answer.get_data()
        assert body
        assert TOKEN.encode() not in body
        assert stored.encode() not in body
        assert b"access_token" not in body or answer.mimetype == "text/html"  # the form's field


# --- pages -------------------------------------------------------------------------------------


async def shown(browser: Client, path: str) -> str:
    response = await browser.get(path)
    assert response.status_code == 200
    html: str = await response.get_data(as_text=True)
    return html


async def test_the_dashboard_shows_and_switches_the_current_connection(
    browser: Client, member: Member
) -> None:
    _, second, _ = member.platform_ids
    html = await shown(browser, "/")
    assert all(f"Platform {number}" in html for number in (1, 2, 3))
    assert f'action="/platforms/{second}/switch"' in html
    response = await browser.post(f"/platforms/{second}/switch", form={"next": "/"})
    assert response.headers["Location"] == "/"
    assert await active(browser) == second
    html = await shown(browser, response.headers["Location"])
    assert "Switched to <bdi>Platform 2</bdi>" in html
    assert f'action="/platforms/{second}/switch"' not in html


async def test_pages_set_the_default_and_switch_connections_off_and_on(
    browser: Client, member: Member
) -> None:
    first, second, third = member.platform_ids
    response = await browser.post(f"/platforms/{second}/default")
    assert response.headers["Location"] == "/platforms"
    assert await default(browser) == second
    assert f'action="/platforms/{third}/deactivate"' in await shown(browser, "/platforms")
    response = await browser.post(f"/platforms/{third}/deactivate", form={"next": "/platforms"})
    assert response.headers["Location"] == "/platforms"
    assert not (await connections(browser))[third]["is_active"]
    refused = await browser.post(f"/platforms/{third}/switch")
    assert refused.status_code == 409
    assert "This account is switched off." in await refused.get_data(as_text=True)
    assert f'action="/platforms/{third}/activate"' in await shown(browser, "/platforms")
    response = await browser.post(f"/platforms/{third}/activate", form={"next": "/platforms"})
    assert response.headers["Location"] == "/platforms"
    assert (await connections(browser))[third]["is_active"]
    assert await active(browser) == first


async def test_a_connection_is_renamed_on_its_page(browser: Client, member: Member) -> None:
    path = f"/platforms/{member.platform_ids[1]}/rename"
    assert f'href="{path}"' in await shown(browser, "/platforms")
    assert 'value="Platform 2"' in await shown(browser, path)
    for name, status in (("Platform 1", 409), ("", 422), ("a\u202eb", 422), ("x" * 101, 422)):
        refused = await browser.post(path, form={"name": name})
        html = await refused.get_data(as_text=True)
        assert refused.status_code == status
        assert f'value="{name}"' in html  # the input is not lost
        assert "<strong><bdi>Platform 2</bdi></strong>" in html
    response = await browser.post(path, form={"name": " Garden club "})
    assert response.headers["Location"] == "/platforms"
    assert (await connections(browser))[member.platform_ids[1]]["name"] == "Garden club"
    assert (await browser.get("/platforms/999/rename")).status_code == 404
    assert (await browser.post("/platforms/999/rename", form={"name": ""})).status_code == 404


async def test_a_connection_is_removed_after_confirmation(browser: Client, member: Member) -> None:
    first, *others = member.platform_ids
    assert "Platform 1" in await shown(browser, f"/platforms/{first}/remove")
    assert first in await connections(browser)
    response = await browser.post(f"/platforms/{first}/remove")
    assert response.headers["Location"] == "/platforms"
    assert list(await connections(browser)) == others
    assert await active(browser) == others[0]
    assert "Platform 1" not in await shown(browser, "/platforms")


async def test_user_input_is_never_markup(browser: Client) -> None:
    name = "<script>alert(1)</script>\"'&"
    number = (await body_of(await add(browser, name=name, username="<b>")))["id"]
    await browser.post(f"/api/platforms/{number}/switch")
    for path in ("/", "/platforms", f"/platforms/{number}/remove"):
        html = await shown(browser, path)
        assert "&lt;script&gt;alert(1)" in html
        assert "<script>" not in html
        assert "<b>" not in html


@pytest.mark.parametrize("hostile", ["//evil.example", "/\\evil.example", "https://evil.example"])
async def test_a_button_never_leads_to_another_site(
    browser: Client, member: Member, hostile: str
) -> None:
    path = f"/platforms/{member.platform_ids[1]}/switch"
    response = await browser.post(path, form={"next": hostile})
    assert response.headers["Location"] == "/platforms"


pytestmark = pytest.mark.sqlite_unless_thorough
