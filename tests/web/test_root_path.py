"""PUBLIC_URL with a path: everything is served below it, and leads nowhere else."""

import re
from pathlib import Path
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL

import quart_app.web
from quart_app.app import create_app
from quart_app.settings import Settings, SettingsError, with_setting
from tests.conftest import MakeApp, Member, set_cookies, settings_for
from tests.web.test_auth_verify import ask, cookie_after_login
from tests.web.test_routes import routes

pytestmark = pytest.mark.sqlite_unless_thorough

ROOT = "/app"
# What a browser requests, or offers to: all attributes with an address.
ADDRESS = re.compile(r'\s(?:href|src|action|formaction)="([^"]*)"')
WRITTEN = re.compile(r'\s(?:href|src|action|formaction)="/')
TEMPLATES = Path(quart_app.web.__file__).parent / "templates"
ELSEWHERE = re.compile("#|https://instance")  # within the page, and an account's profile
# The path that reaches the application from a proxy that passes on the path, and that removes it.
BY_A_PROXY = pytest.mark.parametrize("proxied", [ROOT, ""], ids=["passed on", "removed"])


@pytest.fixture
def settings(database_url: URL) -> Settings:
    return with_setting(settings_for(database_url), public_url=f"http://localhost{ROOT}")


async def text_of(response: Any) -> str:
    return str(await response.get_data(as_text=True))


@BY_A_PROXY
async def test_every_address_in_every_page_begins_with_the_path(
    app: Quart, root: Client, browser: Client, visitor: Client, proxied: str
) -> None:
    paths = {path for _, method, path in routes(app) if method == "GET"}
    assert {"/", "/admin/users", "/devices"} <= paths
    pages = 0
    for client in (root, browser, visitor):
        for path in sorted({*paths, "/nothing"} - {"/api/session_events"}):
            response = await client.get(f"{proxied}{path}")
            assert response.headers.get("Location", ROOT).startswith(ROOT), path
            if not response.content_type.startswith("text/html"):
                continue
            addresses = ADDRESS.findall(await text_of(response))
            elsewhere = [
                each
                for each in addresses
                if not each.startswith(f"{ROOT}/") and not ELSEWHERE.match(each)
            ]
            assert elsewhere == [], path
            pages += bool(addresses)
    assert pages > 30


def test_no_template_has_an_address_without_the_path() -> None:
    """Links that only some users see are among these."""
    templates = {each.name: each.read_text() for each in TEMPLATES.glob("*.html")}
    assert "devices.html" in templates
    assert [name for name, text in templates.items() if WRITTEN.search(text)] == []


@BY_A_PROXY
async def test_a_login_leads_back_below_the_path(app: Quart, member: Member, proxied: str) -> None:
    client = app.test_client()
    asked = await client.get(f"{proxied}/devices?a=1")
    assert asked.headers["Location"] == f"{ROOT}/login?next={ROOT}/devices?a%3D1"
    form = {"username": member.username, "password": member.password}
    for next_path, leads_to in (
        (f"{ROOT}/devices?a=1", f"{ROOT}/devices?a=1"),
        ("/devices", f"{ROOT}/"),  # of another application
        ("/apple/devices", f"{ROOT}/"),
        (f"{ROOT}/../devices", f"{ROOT}/"),
        (f"{ROOT}//devices", f"{ROOT}/"),
        (ROOT, f"{ROOT}/"),
    ):
        answer = await client.post(f"{proxied}/login", form=form | {"next": next_path})
        assert (answer.status_code, answer.headers["Location"]) == (303, leads_to), next_path


async def test_a_notice_is_shown_below_the_path(browser: Client, member: Member) -> None:
    form = {"next": f"{ROOT}/devices"}
    await browser.post(f"{ROOT}/platforms/{member.platform_ids[1]}/switch", form=form)
    shown = [await text_of(await browser.get(f"{ROOT}/devices")) for _ in range(2)]
    assert ["Switched to" in each for each in shown] == [True, False]


async def test_every_cookie_has_the_path(app: Quart, member: Member) -> None:
    client = app.test_client()
    form = {"username": member.username, "password": member.password}
    lines = set_cookies(await client.post(f"{ROOT}/login", form=form))
    switch = f"{ROOT}/platforms/{member.platform_ids[1]}/switch"
    lines |= set_cookies(await client.post(switch, form={"next": f"{ROOT}/"}))
    assert {"session", "session_device"} < lines.keys()
    deleted = set_cookies(await client.post(f"{ROOT}/logout"))
    assert "session" in deleted
    for line in [*lines.values(), *deleted.values()]:
        assert line.split("; ").count(f"Path={ROOT}") == 1, line


async def test_over_https_cookies_have_the_prefix_that_allows_a_path(
    settings: Settings, make_app: MakeApp, member: Member
) -> None:
    app = await make_app(with_setting(settings, public_url="https://localhost/app"))
    answer = await app.test_client().post(
        "/api/login", json={"username": member.username, "password": member.password}
    )
    lines = set_cookies(answer)
    assert {"__Secure-session", "__Secure-session_device"} <= lines.keys()
    for line in lines.values():
        assert {"Secure", f"Path={ROOT}"} < set(line.split("; "))


@BY_A_PROXY
async def test_a_proxy_asks_for_a_session_below_the_path(
    app: Quart, member: Member, proxied: str
) -> None:
    cookie = await cookie_after_login(app, member)
    for path in ("/auth/verify", "/auth/verify/any"):
        assert (await ask(app, cookie, path=f"{proxied}{path}")).status == 204
        assert (await ask(app, path=f"{proxied}{path}")).status == 401
    assert (await app.test_client().get(f"{ROOT}{ROOT}/auth/verify")).status_code == 404


@BY_A_PROXY
async def test_programs_and_browsers_learn_the_path(
    browser: Client, root: Client, proxied: str
) -> None:
    description = await (await browser.get(f"{proxied}/openapi.json")).get_json()
    assert description["servers"] == [{"url": ROOT}]
    assert "/api/platforms" in description["paths"]
    page = await root.get(f"{proxied}/account")
    assert f"report-uri {ROOT}/api/csp_reports" in page.headers["Content-Security-Policy"]


async def test_the_path_without_a_slash_is_the_start_page(browser: Client) -> None:
    assert "<h1" in await text_of(await browser.get(ROOT))
    assert (await browser.get("/apple")).status_code == 404


async def test_the_page_of_the_last_resort_links_to_the_start_page(
    app: Quart, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(app.jinja_env.globals, "limits")
    app.jinja_env.globals.pop("csp_nonce")
    shown = await text_of(await browser.get(f"{ROOT}/devices"))
    assert f'<a href="{ROOT}/">Go to the start page</a>' in shown


@pytest.mark.parametrize("path", ["/login", "/api", "/static/x", "/platforms"])
def test_a_path_that_a_page_has_is_refused(settings: Settings, path: str) -> None:
    with pytest.raises(SettingsError, match=f"PUBLIC_URL can't have the path {path}"):
        create_app(with_setting(settings, public_url=f"http://localhost{path}"))


async def test_links_to_send_have_the_path(root: Client, member: Member) -> None:
    page = await root.post(f"{ROOT}/admin/users/{member.id}/reset_link")
    assert f"http://localhost{ROOT}/reset?token=" in await text_of(page)
