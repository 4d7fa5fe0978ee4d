"""The switcher in a real browser: by pointer, by keyboard, without scripts, and after failures."""

import asyncio
import re
import secrets
import statistics
from collections.abc import Callable

import pytest
from playwright.async_api import Locator, Page, expect

from quart_app.composition import build_services
from quart_app.model import PlatformType
from quart_app.services.identity.page_context import MOST_CONNECTIONS
from tests.browser.conftest import IN_ONE_LOOP, OpenPage, fill_and_log_in
from tests.callers import NOBODY, caller_of
from tests.processes import Processes

pytestmark = [IN_ONE_LOOP, pytest.mark.sqlite_unless_thorough]

SWITCHES = 5
WITHIN_MS = 1000  # for a busy machine; the median is printed
LONG = "A name as long as it can be, because nothing prevents a name of very many words, or no end"
OFF = "Café at the corner"
NAMES = ["Photos", "Notes", "حديقة الزهور", LONG, OFF]
NOTIFIED_WITHIN = """id => new Promise(told => {
  const status = document.getElementById("status");
  new MutationObserver((_, observer) => {
    observer.disconnect();
    told(performance.now() - since);
  }).observe(status, { childList: true });
  const since = performance.now();
  document.querySelector(`#switcher-panel button[data-id="${id}"]`).click();
})"""


async def person(processes: Processes, number: int) -> tuple[str, dict[str, int]]:
    """Create a user with the current account "Photos"; return the name and the ids by name."""
    name = await asyncio.to_thread(processes.new_user)
    built = build_services(processes.settings)
    services = built.services
    user_id = next(
        each.id for each in await services.users.everybody(NOBODY) if each.username == name
    )
    ids = {}
    for count, title in enumerate(
        [*NAMES, *(f"Garden {more:02}" for more in range(number))][:number]
    ):
        connection, _ = await services.platforms.connect(
            caller_of(user_id),
            name=title,
            platform_type=list(PlatformType)[count % 2],
            instance_url=f"https://instance{count}.example",
            access_token=secrets.token_hex(8),
            username=f"rosa{count}",
        )
        ids[title] = connection.id
        if title == OFF:
            await services.platforms.change(caller_of(user_id), connection.id, is_active=False)
    await built.close()
    return name, ids


async def log_in(page: Page, processes: Processes, name: str, path: str) -> None:
    await page.goto(f"{processes.a.url}{path}")
    await fill_and_log_in(page, name)
    await expect(page).to_have_url(f"{processes.a.url}{path}")
    await page.wait_for_load_state()  # after its scripts have loaded


def row(page: Page, name: str) -> Locator:
    return page.locator(".switcher-row", has=page.get_by_text(name, exact=True))


async def opened(page: Page) -> None:
    await page.locator("#switcher-button").click()
    await expect(page.locator("#switcher-panel")).to_be_visible()


async def acts_for(page: Page, name: str) -> None:
    """Check that every part of the page shows the same current account."""
    await expect(page.locator("#switcher-button strong")).to_have_text(name)
    await expect(page.locator("#switcher-panel [aria-current] strong")).to_have_text(name)
    await expect(page.locator("#switcher-panel [aria-current]")).to_contain_text("current")
    # Once the server has rendered it again, its own button is disabled.
    await expect(page.locator("#switcher-panel form [aria-current]")).to_have_count(0)


async def test_one_click_switches_and_leaves_the_page_unchanged(
    processes: Processes, open_page: OpenPage, measured: Callable[[str], None]
) -> None:
    name, ids = await person(processes, 5)
    page = await open_page()
    await log_in(page, processes, name, "/platforms")
    await page.evaluate("""document.addEventListener("session:switched",
        event => { window.told = event.detail })""")
    await acts_for(page, "Photos")
    await page.evaluate("window.stays = true")
    await opened(page)
    await expect(page.locator("#switcher-search")).to_have_count(0)  # there are few
    await expect(row(page, "Photos")).to_contain_text("default")
    await expect(row(page, OFF)).to_contain_text("switched off")
    await row(page, "Notes").click()
    await expect(page.get_by_role("status")).to_have_text("Switched to Notes")
    await expect(page.locator("#switcher-panel")).to_be_hidden()
    await expect(page.locator("#switcher-button")).to_be_focused()
    await acts_for(page, "Notes")
    assert await page.evaluate("window.told") == {
        "platform_connection_id": ids["Notes"],
        "name": "Notes",
    }
    card = page.locator("#your-connections li", has=page.get_by_text("current", exact=True))
    await expect(card.get_by_role("heading")).to_have_text("Notes")
    assert await page.evaluate("window.stays")  # the page was not loaded again
    await page.reload()
    await acts_for(page, "Notes")

    times = []
    for title in ["Photos", "Notes"] * SWITCHES:
        times.append(await page.evaluate(NOTIFIED_WITHIN, ids[title]))
        await expect(page.get_by_role("status")).to_have_text(f"Switched to {title}")
        await acts_for(page, title)
        await expect(
            page.locator(f'#switcher-panel form[data-switch="{ids[title]}"]')
        ).to_have_count(0)
    assert max(times) < WITHIN_MS
    measured(
        f"a switch, from the click to “Switched to”: {statistics.median(times):.0f} ms"
        f" (the slowest of {len(times)}: {max(times):.0f} ms)"
    )


@pytest.mark.untimed
async def test_the_dashboard_updates_and_its_own_buttons_switch_in_place_too(
    processes: Processes, open_page: OpenPage
) -> None:
    name, _ = await person(processes, 3)
    page = await open_page()
    await log_in(page, processes, name, "/")
    await opened(page)
    await row(page, "Notes").click()
    await expect(page.locator("#current-account")).to_have_text("Notes")
    await page.locator(".choices").get_by_role("button", name="Photos").click()
    await expect(page.get_by_role("status")).to_have_text("Switched to Photos")
    await expect(page.locator("#current-account")).to_have_text("Photos")
    await acts_for(page, "Photos")
    assert page.url == f"{processes.a.url}/"


@pytest.mark.untimed
async def test_the_switcher_works_by_keyboard(processes: Processes, open_page: OpenPage) -> None:
    name, _ = await person(processes, 5)
    page = await open_page()
    await log_in(page, processes, name, "/account")
    button, panel = page.locator("#switcher-button"), page.locator("#switcher-panel")
    titles = await panel.locator("button strong").all_text_contents()
    assert OFF not in titles
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(row(page, "Photos")).to_be_focused()  # the current account
    await expect(button).to_have_attribute("aria-expanded", "true")
    for key, title in [
        ("Home", titles[0]),
        ("ArrowDown", titles[1]),
        ("End", titles[-1]),
        ("ArrowUp", titles[-2]),
        ("End", titles[-1]),
        ("ArrowDown", titles[0]),
        ("ArrowUp", titles[-1]),
    ]:
        await page.keyboard.press(key)
        await expect(row(page, title)).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(button).to_be_focused()
    await expect(panel).to_be_hidden()
    await expect(button).to_have_attribute("aria-expanded", "false")

    await page.keyboard.press("ArrowDown")
    await expect(row(page, "Photos")).to_be_focused()
    for link in ("Connect an account", "Manage"):
        await page.keyboard.press("Tab")
        await expect(panel.get_by_role("link", name=link)).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Log out", exact=True)).to_be_focused()
    await expect(panel).to_be_hidden()

    await button.focus()
    await page.keyboard.press("Space")
    await expect(row(page, "Photos")).to_be_focused()
    await page.keyboard.press("Enter")  # stays on this one
    await expect(panel).to_be_hidden()
    await expect(button).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(row(page, "Photos")).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("Enter")
    before = titles[titles.index("Photos") - 1]
    await expect(page.get_by_role("status")).to_have_text(f"Switched to {before}")
    await expect(button).to_be_focused()
    await acts_for(page, before)


@pytest.mark.untimed
async def test_typing_finds_one_of_more_than_eight_accounts(
    processes: Processes, open_page: OpenPage
) -> None:
    name, _ = await person(processes, 50)
    page = await open_page()
    await log_in(page, processes, name, "/account")
    rows = page.locator(".switcher-row:visible")
    search = page.get_by_label("Find an account")
    await opened(page)
    await expect(search).to_be_focused()
    await expect(rows).to_have_count(50)
    await page.keyboard.type("CAFE")
    await expect(rows).to_have_count(1)  # and it is switched off: Enter does nothing
    await page.keyboard.press("Enter")
    await expect(page.locator("#switcher-panel")).to_be_visible()
    await search.fill("garden 1")
    await expect(rows).to_have_count(10)
    await expect(page.locator("#switcher-found")).to_have_text("10 results")
    await page.keyboard.press("Enter")  # there are several matches: Enter only moves the focus
    await expect(row(page, "Garden 10")).to_be_focused()
    await page.keyboard.press("5")  # typing goes to the search from anywhere in the panel
    await expect(search).to_have_value("garden 15")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_have_text("Switched to Garden 15")
    await acts_for(page, "Garden 15")
    await page.keyboard.press("Enter")
    await expect(search).to_be_focused()
    await expect(search).to_have_value("")
    await expect(row(page, "Garden 15")).to_be_in_viewport()
    await page.keyboard.type("nothing is called that")
    await expect(page.locator("#switcher-found")).to_have_text("No results")
    await page.keyboard.press("Escape")
    await expect(page.locator("#switcher-button")).to_be_focused()
    # Found by its handle, too.
    await page.keyboard.press("Enter")
    await page.keyboard.type("rosa7@instance7")
    await expect(rows).to_have_count(1)


@pytest.mark.untimed
@pytest.mark.parametrize("width", [320, 1280])
async def test_typing_finds_an_account_beyond_the_first_page(
    processes: Processes, open_page: OpenPage, width: int
) -> None:
    name, _ = await person(processes, MOST_CONNECTIONS + 20)
    last = "Garden 99"  # in order of name
    page = await open_page(viewport={"width": width, "height": 640})
    await log_in(page, processes, name, "/account")
    rows, found = page.locator(".switcher-row:visible"), page.locator("#switcher-found")
    await opened(page)
    await expect(row(page, last)).to_have_count(0)
    await page.get_by_label("Find an account").fill("garden")
    await expect(found).to_have_text("First 50 results")
    await expect(page.get_by_role("link", name="Show all")).to_be_visible()
    await page.get_by_label("Find an account").fill("nothing is called that")
    await expect(found).to_have_text("No results")
    await expect(rows).to_have_count(0)
    await page.get_by_label("Find an account").fill("")
    await expect(rows).to_have_count(MOST_CONNECTIONS)
    await page.get_by_label("Find an account").press_sequentially(last.upper())
    await page.keyboard.press("Enter")  # before the server has responded
    await expect(page.get_by_role("status")).to_have_text(f"Switched to {last}")
    await expect(page.locator("#switcher-button strong")).to_have_text(last)
    assert page.url.endswith("/account")
    sideways = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(sideways) == 0


@pytest.mark.untimed
async def test_an_account_beyond_the_first_page_is_found_without_scripts(
    processes: Processes, open_page: OpenPage
) -> None:
    name, _ = await person(processes, MOST_CONNECTIONS + 20)
    last = "Garden 99"  # in order of name
    page = await open_page(java_script_enabled=False)
    await log_in(page, processes, name, "/account")
    await page.locator("#switcher-button").focus()
    await page.keyboard.press("Enter")
    await page.locator("#switcher-search").fill(last)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Find an account")).to_be_visible()
    await page.locator("#found").get_by_role("button", name=last).click()
    await expect(page).to_have_url(re.compile("/account"))
    await expect(page.locator("#switcher-button strong")).to_have_text(last)


@pytest.mark.untimed
async def test_the_switcher_works_without_scripts(
    processes: Processes, open_page: OpenPage
) -> None:
    name, _ = await person(processes, 10)
    page = await open_page(java_script_enabled=False)
    await log_in(page, processes, name, "/devices")
    await page.locator("#switcher-button").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#switcher-panel")).to_be_visible()
    await expect(page.locator("#theme")).to_have_count(0)
    await page.keyboard.press("Escape")
    await expect(page.locator("#switcher-button")).to_be_focused()
    await opened(page)
    await row(page, "Notes").click()
    await expect(page).to_have_url(re.compile(r"/devices$"))
    await expect(page.get_by_role("status")).to_have_text("Switched to Notes")
    await acts_for(page, "Notes")


@pytest.mark.untimed
@pytest.mark.parametrize("width", [320, 1280])
async def test_the_switcher_fits_names_of_any_length(
    processes: Processes, open_page: OpenPage, width: int
) -> None:
    name, ids = await person(processes, 50)
    page = await open_page(viewport={"width": width, "height": 640})
    await log_in(page, processes, name, "/")
    sideways = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    heights = set()
    for title in (LONG, NAMES[2], "Photos"):
        await page.evaluate(NOTIFIED_WITHIN, ids[title])
        await acts_for(page, title)
        header = await page.locator("header").bounding_box()
        assert header
        heights.add(header["height"])
        assert await page.evaluate(sideways) == 0, title
        await opened(page)
        assert await page.evaluate(sideways) == 0, title
        box = await page.locator("#switcher-panel").bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= 640
        await expect(page.get_by_role("link", name="Manage")).to_be_in_viewport()
        await page.keyboard.press("Escape")
    assert len(heights) == 1  # no layout shift


@pytest.mark.untimed
async def test_a_failed_switch_shows_the_reason_and_the_current_account(
    processes: Processes, open_page: OpenPage
) -> None:
    name, ids = await person(processes, 5)
    page = await open_page()
    # A page without an event stream, which therefore shows an old state.
    await page.route("**/api/session_events", lambda route: route.abort())
    await log_in(page, processes, name, "/account")
    status, address = page.get_by_role("status"), processes.a.url

    async def refused(title: str, sentence: str) -> None:
        await opened(page)
        await row(page, title).click()
        await expect(status).to_have_text(f"{sentence} Current account: Photos")
        await expect(page.locator("#switcher-panel")).to_be_hidden()
        await expect(page.locator("#switcher-button")).to_be_focused()
        await acts_for(page, "Photos")
        await page.get_by_role("button", name="Close").click()
        await expect(status).to_have_text("")

    await page.context.set_offline(True)
    await refused("Notes", "quart_app can\u2019t be reached.")
    await page.context.set_offline(False)

    elsewhere = page.context.request
    await elsewhere.patch(f"{address}/api/platforms/{ids['Notes']}", data={"is_active": False})
    await refused("Notes", "This account is switched off. Switch it on first.")
    await expect(page.locator("#switcher-panel div.switcher-off", has_text="Notes")).to_have_count(
        1
    )
    await elsewhere.delete(f"{address}/api/platforms/{ids[LONG]}")
    await refused(LONG, "You have no such account. It may have been removed.")
    await expect(row(page, LONG)).to_have_count(0)

    await opened(page)
    await row(page, NAMES[2]).click()  # no control stays disabled
    await expect(status).to_have_text(f"Switched to {NAMES[2]}")

    await opened(page)
    await elsewhere.post(f"{address}/api/logout")
    await row(page, "Photos").click()
    await expect(page).to_have_url(re.compile(r"/login\?next=%2Faccount"))


@pytest.mark.untimed
async def test_the_switcher_follows_switches_made_elsewhere(
    processes: Processes, open_page: OpenPage
) -> None:
    name, ids = await person(processes, 3)
    page = await open_page()
    await log_in(page, processes, name, "/")
    elsewhere, address = page.context.request, processes.a.url
    await elsewhere.post(f"{address}/api/platforms/{ids['Notes']}/switch")
    await acts_for(page, "Notes")
    await expect(page.locator("#current-account")).to_have_text("Notes")
    await elsewhere.patch(f"{address}/api/platforms/{ids['Photos']}", data={"name": "Photographs"})
    await expect(row(page, "Photographs")).to_have_count(1)
    await elsewhere.post(f"{address}/api/logout")
    await expect(page).to_have_url(re.compile("/login"))
