"""A visit to the application below a path, behind nginx: no request leaves the path."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, Request, expect
from sqlalchemy import URL

from quart_app.settings import with_setting
from tests.browser.conftest import IN_ONE_LOOP, OpenPage, fill_and_log_in
from tests.conftest import settings_for
from tests.listening import free_port
from tests.processes import connect, log_in, log_out, new_user
from tests.proxies import nginx
from tests.servers import hypercorn

pytestmark = [IN_ONE_LOOP, pytest.mark.untimed]

_NGINX = """
server {{
  listen 127.0.0.1:{port};
  location /app/ {{ proxy_pass {url}{removes}; proxy_set_header Host $http_host; }}
  location = /app/api/session_events {{
    proxy_pass {url}{events};
    proxy_set_header Host $http_host;
    proxy_buffering off;
  }}
}}
"""


class Site:
    """The address of the application, and the name of a user with two accounts."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name


@pytest.fixture(params=["passed on", "removed"])
def site(migrated_sqlite: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/app"
    settings = with_setting(
        settings_for(URL.create("sqlite+aiosqlite", database=str(migrated_sqlite))), public_url=url
    )
    removes, events = {"passed on": ("", ""), "removed": ("/", "/api/session_events")}[
        request.param
    ]
    name = new_user(settings)
    with hypercorn(settings, tmp_path) as server:
        cookie = log_in(server, name)
        for each in ("Apple", "Berry"):
            connect(server, cookie, each)
        log_out(server, cookie)
        configuration = _NGINX.format(port=port, url=server.url, removes=removes, events=events)
        with nginx(request.config, configuration, [port]):
            yield Site(url, name)


async def switch_to(page: Page, name: str) -> None:
    await page.locator("#switcher-button").click()
    await page.locator("#switcher-panel").get_by_role("button", name=name).click()
    await expect(page.locator("#status")).to_contain_text(f"Switched to {name}")


async def test_a_visit_stays_below_the_path(site: Site, open_page: OpenPage) -> None:
    page = await open_page()
    asked: list[Request] = []

    def note(request: Request) -> None:
        asked.append(request)

    page.context.on("request", note)
    await page.goto(f"{site.url}/")
    await fill_and_log_in(page, site.name)
    await expect(page).to_have_url(f"{site.url}/")
    other = await page.context.new_page()
    await other.goto(f"{site.url}/devices")

    await switch_to(page, "Berry")
    await expect(other.locator("#status")).to_contain_text("Switched to Berry")
    await page.get_by_role("link", name="Devices").click()
    await expect(page).to_have_url(f"{site.url}/devices")
    await page.get_by_role("link", name="Profile").click()
    await expect(page.get_by_role("heading", name="Profile", exact=True).first).to_be_visible()

    await page.get_by_role("button", name="Log out").click()
    await expect(page).to_have_url(f"{site.url}/login")
    await other.wait_for_url(re.compile(re.escape(f"{site.url}/login?next=%2Fapp%2Fdevices")))
    await fill_and_log_in(other, site.name)
    await expect(other).to_have_url(f"{site.url}/devices")

    paths = {urlsplit(each.url).path for each in asked}
    assert {f"/app/api/{each}" for each in ("session_state", "session_events")} <= paths
    assert [path for path in paths if not path.startswith("/app/")] == []
    cookies = await page.context.cookies()
    assert cookies
    assert {each["path"] for each in cookies} == {"/app"}
    assert await other.evaluate("navigator.locks.query().then(({held}) => held[0].name)") == (
        "quart_app stream /app"
    )
