"""A chosen theme is kept and applied before the first frame; relative times stay correct."""

import pytest
from playwright.async_api import Page, expect

from quart_app.web.rendering.template_filters import ago
from tests.browser.conftest import IN_ONE_LOOP, OpenPage, fill_and_log_in
from tests.conftest import Clock
from tests.processes import Processes

pytestmark = [IN_ONE_LOOP, pytest.mark.sqlite_unless_thorough, pytest.mark.untimed]

LIGHT, DARK = "rgb(245, 246, 249)", "rgb(18, 20, 27)"
COLOUR = "getComputedStyle(document.documentElement).backgroundColor"
# Record what each frame shows, beginning with the first.
WATCH = f"""window.shown = [];
(function look() {{
  if (document.body) window.shown.push({COLOUR});
  requestAnimationFrame(look);
}})();"""


async def test_the_theme_is_the_systems_until_the_user_chooses_another_which_is_kept(
    processes: Processes, open_page: OpenPage
) -> None:
    page = await open_page(color_scheme="dark")
    await page.add_init_script(WATCH)
    url = f"{processes.a.url}/login"
    await page.goto(url)
    theme = page.get_by_label("Theme")
    await expect(theme).to_have_value("system")
    assert await page.evaluate(COLOUR) == DARK
    await page.emulate_media(color_scheme="light")
    assert await page.evaluate(COLOUR) == LIGHT
    await theme.select_option("Dark")
    assert await page.evaluate(COLOUR) == DARK
    # Nothing else is kept in the browser's storage.
    kept = await page.evaluate("[{ ...localStorage }, { ...sessionStorage }]")
    assert kept == [{"theme": "dark"}, {}]

    other = await page.context.new_page()
    await other.goto(url)
    await other.emulate_media(color_scheme="light")
    for path in ("/login", "/nothing"):
        await page.goto(f"{processes.a.url}{path}")
        await expect(theme).to_have_value("dark")
        await page.wait_for_function("window.shown.length > 2")
        assert set(await page.evaluate("window.shown")) == {DARK}
    await theme.select_option("Light")
    await expect(other.get_by_label("Theme")).to_have_value("light")  # the other tab changes, too
    await page.emulate_media(color_scheme="dark")
    await page.reload()
    assert await page.evaluate(COLOUR) == LIGHT
    await theme.select_option("System")
    await page.reload()
    assert await page.evaluate(COLOUR) == DARK


@pytest.mark.parametrize(("scheme", "colour"), [("light", LIGHT), ("dark", DARK)])
async def test_without_scripts_the_theme_is_the_systems(
    processes: Processes, open_page: OpenPage, scheme: str, colour: str
) -> None:
    page = await open_page(java_script_enabled=False, color_scheme=scheme)
    await page.goto(f"{processes.a.url}/login")
    await expect(page.get_by_label("Theme")).to_be_hidden()
    await expect(page.locator("html")).to_have_css("background-color", colour)


async def log_in(page: Page, processes: Processes, name: str) -> None:
    await page.goto(f"{processes.a.url}/account")
    await fill_and_log_in(page, name)


async def test_relative_times_stay_correct_by_the_servers_clock(
    processes: Processes, name: str, open_page: OpenPage, clock: Clock
) -> None:
    page = await open_page(bypass_csp=True)  # for the import below has no nonce
    await page.clock.install(time="2001-01-01T00:00:00Z")  # this browser's clock is wrong
    await log_in(page, processes, name)
    last_login = page.locator("dd", has=page.locator("[data-ago]")).last
    await expect(last_login).to_contain_text("just now (")
    await page.clock.fast_forward("03:00:10")
    await expect(last_login).to_contain_text("3 hours ago (")

    module = await page.locator('script[src$="times.js"]').get_attribute("src")
    seconds = [0, 59, 60, -60, 3599, 3600, -7200, 86399, 86400, -2629745, 2629746, -31556952, 10**9]
    written = await page.evaluate(
        "async ([module, seconds]) => seconds.map((await import(module)).ago)", [module, seconds]
    )
    now = clock()
    assert written == [
        ago(now.fromtimestamp(now.timestamp() - each, now.tzinfo), now) for each in seconds
    ]
