"""Page sizes and layout shifts in a real browser, and what the content security policy blocks."""

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from quart_app.app import create_app
from quart_app.composition import build_services
from quart_app.model import AuditEvent, PlatformType, Role
from quart_app.settings import Settings
from tests.browser.conftest import IN_ONE_LOOP, OpenPage, fill_and_log_in
from tests.callers import NOBODY, caller_of
from tests.conftest import PASSWORD, migrated_database, settings_for
from tests.servers import Server, hypercorn
from tests.web.test_routes import routes

pytestmark = [IN_ONE_LOOP, pytest.mark.xdist_group("speed")]  # one worker, so one server

MOST_BYTES = 60 * 1024  # of a page with its assets, as transferred
CONNECTIONS = 12
ENTRIES = 200  # audit entries, more than a page shows
SETTLED_MS = 300  # layout shifts after loading happen by then
# Everything that moved, without what followed a click at once.
WATCH_SHIFTS = """
globalThis.shifts = [];
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
        if (!entry.hadRecentInput) {
            shifts.push([entry.value, ...entry.sources.map((source) => source.node?.nodeName)]);
        }
    }
}).observe({type: "layout-shift", buffered: true});
"""


# Return the styles and scripts that the page requests, and the bytes transferred.
FETCHED = """
Object.fromEntries(
    performance.getEntriesByType("resource")
        .filter((entry) => entry.name.includes("/static/"))
        .map((entry) => [entry.name, entry.transferSize])
)
"""


async def fill(settings: Settings) -> None:
    """Create an administrator, user 1, with much to show."""
    built = build_services(settings)
    services = built.services
    await services.users.create(
        NOBODY, username="ada", email="ada@example.com", role=Role.ADMIN, password=PASSWORD
    )
    for number in range(CONNECTIONS):
        await services.platforms.connect(
            caller_of(1),
            name=f"Connection {number}",
            platform_type=PlatformType.PIXELFED,
            instance_url=f"https://pixelfed{number}.example",
            access_token="token",
            username="ada",
        )
    async with built.database.begin() as db:
        for _ in range(ENTRIES):
            await services.audit.writer.record(db, AuditEvent.LOGIN, NOBODY, user_id=1)
    await built.close()


@pytest.fixture(scope="module")
def settings_and_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, Server]]:
    """One engine is enough, because this is about pages."""
    folder = tmp_path_factory.mktemp("speed")
    with migrated_database("sqlite", request, folder) as url:
        settings = settings_for(url)
        asyncio.run(fill(settings))
        with hypercorn(settings, folder) as server:
            yield settings, server


def pages(settings: Settings) -> list[str]:
    """Return a path of every page for this user."""
    return sorted(
        {
            path
            for endpoint, method, path in routes(create_app(settings))
            if method == "GET"
            and not path.startswith(("/api/", "/static/"))
            and not endpoint.startswith("operations.")
            and not path.endswith((".csv", ".json"))
        }
    )


async def weigh(page: Page, url: str) -> tuple[int, list[Any]]:
    """Return the bytes of everything that the page requests, and its layout shifts."""
    session = await page.context.new_cdp_session(page)
    await session.send("Network.enable")
    await session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    await page.goto(url)
    await page.wait_for_timeout(SETTLED_MS)
    shifts: list[Any] = await page.evaluate("shifts")
    await session.detach()
    return int(sum(sizes)), shifts


async def log_in(page: Page, server: Server) -> None:
    await page.goto(f"{server.url}/login")
    await fill_and_log_in(page, "ada")
    await expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()


async def test_no_page_is_larger_than_60_kb_or_shifts_its_layout(
    settings_and_server: tuple[Settings, Server],
    open_page: OpenPage,
    measured: Callable[[str], None],
    thorough: bool,  # noqa: FBT001 a fixture
) -> None:
    settings, server = settings_and_server
    paths = pages(settings)
    assert {"/", "/login", "/platforms", "/account", "/devices", "/admin/audit"} <= set(paths)
    weights, moved = {}, {}
    page = await open_page()
    await page.add_init_script(WATCH_SHIFTS)
    weights["/login"], moved["/login"] = await weigh(page, f"{server.url}/login")
    await log_in(page, server)
    for path in paths:
        if path not in weights:
            weights[path], moved[path] = await weigh(page, server.url + path)
    await page.set_viewport_size({"width": 320, "height": 640})
    # A third of the pages by default: all share the layout and its parts.
    for path in sorted(paths)[:: 1 if thorough else 3]:
        moved[f"{path} at 320 px"] = (await weigh(page, server.url + path))[1]
    text = ", ".join(f"{path} {size / 1024:.1f}" for path, size in sorted(weights.items()))
    measured(f"KiB of a page with its styles and scripts, nothing of it kept before: {text}")
    most = max(sum(each[0] for each in shifts) for shifts in moved.values())
    measured(f"layout shift, the most of {len(moved)} pages, wide and narrow: {most}")
    assert {path: size for path, size in weights.items() if size > MOST_BYTES} == {}
    assert {path: shifts for path, shifts in moved.items() if shifts} == {}
    assert not re.search('"GET /static/[^"]*" 404', server.log.read_text())


async def test_a_second_page_requests_no_style_and_no_script(
    settings_and_server: tuple[Settings, Server], open_page: OpenPage
) -> None:
    _, server = settings_and_server
    page = await open_page()
    await log_in(page, server)
    for go in (page.goto(f"{server.url}/platforms"), page.reload()):
        await go
        fetched = await page.evaluate(FETCHED)
        assert len(fetched) > 5
        assert {path: size for path, size in fetched.items() if size} == {}


async def test_an_injected_script_does_not_run_and_is_reported(
    settings_and_server: tuple[Settings, Server], chromium: Browser
) -> None:
    _, server = settings_and_server
    context = await chromium.new_context()
    page = await context.new_page()
    await page.goto(f"{server.url}/login")
    tried = await page.evaluate(
        """async () => {
            const tried = [];
            const attempt = (name, act) => {
                try { act(); } catch (error) { tried.push([name, error.name]); }
            };
            attempt("HTML", () => { document.body.innerHTML = "<img src=x onerror=ran()>"; });
            attempt("text", () => { document.createElement("script").text = "ran()"; });
            attempt("address", () => { document.createElement("script").src = "/x.js"; });
            attempt("policy", () => { trustedTypes.createPolicy("mine", {}); });
            const image = document.createElement("img");
            image.setAttribute("src", "https://elsewhere.example/x.png");
            const style = document.createElement("p");
            style.setAttribute("style", "color: red");
            document.body.append(image, style);
            tried.push(getComputedStyle(style).color);
            return tried;
        }"""
    )
    assert tried[:-1] == [[name, "TypeError"] for name in ("HTML", "text", "address", "policy")]
    assert tried[-1] != "rgb(255, 0, 0)"
    for _ in range(500):
        reports = re.findall(r'"POST /api/csp_reports [^"]*" (\d+)', server.log.read_text())
        if len(reports) >= 6:
            break
        await asyncio.sleep(0.01)
    assert set(reports) == {"204"}
    assert len(reports) >= 6
    await context.close()
