"""The switcher in the header of every page, as rendered by the server: it works without scripts."""

import gzip
import re
from datetime import timedelta

import pytest
from quart import Quart, Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import insert, text

from quart_app.composition import Built
from quart_app.model import PlatformConnection
from quart_app.services.identity.page_context import MOST_CONNECTIONS
from quart_app.services.pagination import PAGE_SIZE
from quart_app.web.pipeline.access import Mark, is_marked
from quart_app.web.rendering.pages import page
from tests.conftest import Clock, Member
from tests.web.test_routes import ask, routes

HEAVIEST_PAGE_BYTES = 60 * 1024  # compressed, with its styles and scripts
PANEL = re.compile(r'<div popover .*?id="switcher-panel".*?<div class="switcher-links">', re.DOTALL)


@pytest.fixture
def engine_name() -> str:
    """One engine is enough unless a test says otherwise, because this is about HTML."""
    return "sqlite"


async def html_of(client: Client, path: str, *, status: int = 200) -> str:
    response = await client.get(path)
    assert response.status_code == status, path
    html: str = await response.get_data(as_text=True)
    return html


async def switcher(client: Client, path: str = "/account", *, status: int = 200) -> str:
    """Return the panel's markup; a page has exactly one."""
    (panel,) = PANEL.findall(await html_of(client, path, status=status))
    return str(panel)


def rows(panel: str) -> dict[str, str]:
    """Return the rows by their connections' names."""
    items = re.findall(r"<li>(.*?)</li>", panel, re.DOTALL)
    return {re.findall(r"<strong><bdi>(.*?)</bdi>", item)[0]: item for item in items}


async def add_many(built: Built, member: Member, number: int) -> None:
    """Give the member this many more connections, with names that sort before the others."""
    values = [
        {
            "user_id": member.id,
            "name": f"Garden {count:03} and a name of the usual length",
            "platform_type": ("mastodon", "pixelfed")[count % 2],
            "instance_url": f"https://instance-{count * 7919 % 1000}.example",
            "username": f"rosa{count * 104729 % 10000}",
            "access_token": "sealed",
            "is_active": True,
        }
        for count in range(number)
    ]
    async with built.database.begin() as db:
        await db.execute(insert(PlatformConnection), values)


async def test_every_page_of_a_user_has_the_switcher(app: Quart, browser: Client) -> None:
    seen = set()
    for endpoint, method, path in routes(app):
        if (
            method != "GET"
            or path.startswith("/api/")
            or is_marked(Mark.PUBLIC, app.view_functions[endpoint])
        ):
            continue
        response = await browser.get(path)
        if response.mimetype != "text/html" or response.status_code in {302, 303}:
            continue
        html = await response.get_data(as_text=True)
        assert len(PANEL.findall(html)) == 1, path
        assert 'id="status" role="status"' in html, path
        assert 'action="/logout"' in html, path
        seen.add((path, response.status_code))
    assert {("/", 200), ("/platforms", 200), ("/devices", 200), ("/account", 200)} <= seen
    assert ("/admin/users", 403) in seen


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/logout", 405), ("POST", "/platforms", 422)],
)
async def test_an_error_page_has_the_switcher_too(
    browser: Client, method: str, path: str, status: int
) -> None:
    response = await ask(browser, method, path)
    assert response.status_code == status
    assert PANEL.search(await response.get_data(as_text=True))


async def test_pages_for_visitors_have_no_switcher(visitor: Client) -> None:
    html = await html_of(visitor, "/login")
    assert "switcher-panel" not in html
    assert "data-user-id" not in html


async def test_an_error_page_works_without_the_database(browser: Client, built: Built) -> None:
    async with built.database.begin() as db:
        await db.execute(text("ALTER TABLE platform_connections RENAME TO away"))
    html = await html_of(browser, "/nothing", status=404)
    assert "There is nothing here." in html
    assert "Log out" in html
    assert "switcher-panel" not in html
    assert "Log out" in await html_of(browser, "/", status=503)


async def test_the_current_the_default_and_disabled_accounts_are_labelled_in_words(
    browser: Client, member: Member
) -> None:
    first, second, third = member.platform_ids
    await browser.post(f"/api/platforms/{second}/switch")
    await browser.patch(f"/api/platforms/{third}", json={"is_active": False})
    html = await html_of(browser, "/account")
    assert f'data-user-id="{member.id}" data-platform-connection-id="{second}"' in html
    found = rows(await switcher(browser))
    assert list(found) == ["Platform 1", "Platform 2", "Platform 3"]
    default, current, off = found.values()
    assert f'action="/platforms/{first}/switch"' in default
    assert ">default<" in default
    assert "aria-current" not in default + off
    assert 'aria-current="true"' in current
    assert ">current</span>" in current
    assert ">default<" not in current + off
    assert ">switched off<" in off
    assert "<button" not in off
    assert "Pixelfed" in current
    assert "<bdi>@ada</bdi>@<bdi>pixelfed2.example</bdi>" in current


async def test_a_session_without_a_current_account_says_so(browser: Client, member: Member) -> None:
    for platform_connection_id in member.platform_ids:
        await browser.post(f"/platforms/{platform_connection_id}/deactivate")
    html = await html_of(browser, "/account")
    assert "No current account" in html
    assert 'data-platform-connection-id=""' in html
    assert "aria-current" not in await switcher(browser)
    for platform_connection_id in member.platform_ids:
        await browser.post(f"/platforms/{platform_connection_id}/remove")
    html = await html_of(browser, "/account")
    assert "No accounts yet." in html
    assert 'href="/platforms/new"' in html


@pytest.mark.parametrize(
    ("path", "back"),
    [
        ("/account", "/account"),
        ("/platforms?sought=a%20b&after=c", "/platforms?sought=a%20b&amp;after=c"),
        ("/nothing", "/"),
    ],
)
async def test_its_forms_lead_back_to_the_page(browser: Client, path: str, back: str) -> None:
    response = await browser.get(path)
    html = await response.get_data(as_text=True)
    (panel,) = PANEL.findall(html)
    assert set(re.findall(r'name="next" value="(.*?)"', panel)) == {back}


async def test_after_a_refused_form_they_lead_to_a_page_and_not_to_the_form(
    app: Quart, browser: Client, member: Member
) -> None:
    async def only_posted() -> Response:
        return await page("dashboard.html")

    app.add_url_rule("/only_posted", view_func=only_posted, methods=["POST"])
    paths = {"/platforms": "/platforms", f"/platforms/{member.platform_ids[1]}/rename": None}
    for path, back in paths.items():
        html = await (await browser.post(path, form={"name": ""})).get_data(as_text=True)
        (panel,) = PANEL.findall(html)
        assert set(re.findall(r'name="next" value="(.*?)"', panel)) == {back or path}
    html = await (await browser.post("/only_posted")).get_data(as_text=True)
    (panel,) = PANEL.findall(html)
    assert set(re.findall(r'name="next" value="(.*?)"', panel)) == {"/"}


async def test_switching_without_scripts_stays_on_the_page(browser: Client, member: Member) -> None:
    response = await browser.post(
        f"/platforms/{member.platform_ids[2]}/switch", form={"next": "/devices"}
    )
    assert response.headers["Location"] == "/devices"
    html = await html_of(browser, response.headers["Location"])
    assert "Switched to <bdi>Platform 3</bdi>" in html


async def test_names_are_never_markup(browser: Client) -> None:
    name = "<script>alert(1)</script> \"'& <i>"
    response = await browser.post(
        "/api/platforms",
        json={
            "name": name,
            "platform_type": "mastodon",
            "instance_url": "social.example",
            "access_token": "t",
            "username": "<b>",
            "verify": False,
        },
    )
    number = (await response.get_json())["id"]
    await browser.post(f"/platforms/{number}/switch", form={"next": "/account"})
    for path in (f"/platforms/{number}/remove", f"/platforms/{number}/rename", "/account"):
        html = await html_of(browser, path)
        assert "&lt;script&gt;alert(1)" in html
        assert not re.search(r"<script>|<b>|<i>", html)
    assert "Switched to <bdi>&lt;script&gt;" in html


async def test_it_is_loaded_in_one_query_with_the_page_and_without_credentials(
    browser: Client, statements: list[str]
) -> None:
    await html_of(browser, "/")
    connections = [each for each in statements if "FROM platform_connections" in each]
    assert len(connections) == 1
    assert sum(each.startswith("BEGIN") for each in statements) <= 1
    assert not any("access_token" in each for each in statements)


async def test_it_shows_the_first_of_hundreds_and_the_current_one(
    browser: Client, member: Member, built: Built
) -> None:
    await add_many(built, member, 500)
    html = await html_of(browser, "/account")
    (panel,) = PANEL.findall(html)
    assert len(rows(panel)) == MOST_CONNECTIONS
    assert "Platform 1" not in panel  # it comes after them by name
    assert "Show all" in panel
    (button,) = re.findall(r'id="switcher-button".*?</button>', html, re.DOTALL)
    assert "Platform 1" in button


async def test_hundreds_are_found_page_by_page(
    browser: Client, member: Member, built: Built
) -> None:
    assert "Find an account</label>" not in await html_of(browser, "/platforms")
    await add_many(built, member, 2 * PAGE_SIZE)
    names: list[str] = []
    path = "/platforms"
    while path:
        html = await html_of(browser, path)
        names += re.findall(r"<h3><bdi>(.*?)</bdi>", html)
        more = re.findall(r'rel="next" href="(.*?)"', html)
        path = more[0].replace("&amp;", "&") if more else ""
    assert len(names) == 2 * PAGE_SIZE + len(member.platform_ids)
    assert names == sorted(set(names))
    html = await html_of(browser, "/platforms?sought=garden+007")
    assert re.findall(r"<h3><bdi>(.*?)</bdi>", html) == [
        "Garden 007 and a name of the usual length"
    ]
    assert "No results." in await html_of(browser, "/platforms?sought=%25")
    assert (await browser.get("/platforms", query_string={"sought": "x" * 101})).status_code == 422


@pytest.mark.parametrize("number", [0, 50, 500])
async def test_pages_stay_small_with_hundreds_of_accounts(
    browser: Client, member: Member, built: Built, number: int
) -> None:
    if number:
        await add_many(built, member, number)
    for path in ("/", "/platforms", "/account"):
        html = await html_of(browser, path)
        parts = set(re.findall(r'(?:src|href)="(/static/[^"]*)"', html))
        scripts = {each for each in parts if each.endswith(".js")}
        assert len(scripts) >= 3
        folder = next(iter(scripts)).rpartition("/")[0]
        imported = {f"{folder}/refresh.js", f"{folder}/status.js"}
        weights = [len(gzip.compress(html.encode()))]
        for part in parts | imported:
            response = await browser.get(part)
            assert response.status_code == 200
            content = await response.get_data(as_text=False)
            weights.append(len(gzip.compress(content)))
        assert sum(weights) < HEAVIEST_PAGE_BYTES, (path, weights)


async def test_a_page_that_reloads_itself_is_not_activity(browser: Client, clock: Clock) -> None:
    before = (await (await browser.get("/api/session_state")).get_json())["last_activity"]
    clock.advance(timedelta(hours=1))
    response = await browser.get("/account", headers={"X-Unattended": "true"})
    assert response.status_code == 200
    state = await (await browser.get("/api/session_state")).get_json()
    assert state["last_activity"] == before
    await browser.get("/account")
    state = await (await browser.get("/api/session_state")).get_json()
    assert state["last_activity"] > before


async def test_times_are_relative_with_the_exact_one_beside(browser: Client, clock: Clock) -> None:
    clock.advance(timedelta(hours=3))
    html = await html_of(browser, "/account")
    (words, exact) = re.findall(
        r'Last login</dt><dd><time datetime="\S+" data-ago>(.*?)</time>'
        r' <span class="exact">\((.*?)\)</span>',
        html,
    )[0]
    assert words == "3 hours ago"
    assert re.fullmatch(r"\d+ [A-Z][a-z]+ \d{4}, \d\d:\d\d UTC", exact)
    html = await html_of(browser, "/devices")
    assert re.search(r"Expires.*?data-ago>in 21 hours</time>", html, re.DOTALL)


pytestmark = pytest.mark.sqlite_unless_thorough
