"""A session that ends elsewhere: its browser shows the login page in time."""

import asyncio
import re
import time

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import IN_ONE_LOOP, OpenPage, fill_and_log_in
from tests.cases import first_unless_thorough
from tests.end_causes import CAUSES, OTHER, OWN, Scene
from tests.processes import ENDED_WITHIN_SECONDS, Processes, log_in

# tests/server/test_session_ends.py covers PostgreSQL without a browser.
pytestmark = [IN_ONE_LOOP, pytest.mark.sqlite_unless_thorough]


async def log_in_by_page(page: Page, url: str, name: str) -> str:
    """Log in, and return the session cookie's value."""
    await page.goto(f"{url}/account")
    await fill_and_log_in(page, name)
    await expect(page).to_have_url(f"{url}/account")
    cookies = await page.context.cookies()
    return next(each["value"] for each in cookies if each["name"] == "session")


FIRST = [
    *("change the password", "sessions end --all", "log out by the form", "remove a device"),
    "administrator, a user's",
]


@pytest.mark.parametrize(
    "ended_by", first_unless_thorough(2, [*FIRST, *sorted(CAUSES.keys() - set(FIRST))])
)
async def test_each_cause_sends_the_browser_to_the_login_page(
    processes: Processes,
    name: str,
    ended_by: str,
    open_page: OpenPage,
) -> None:
    cause = CAUSES[ended_by]
    # With scripts the page would leave during the check: see tests/browser/test_tabs.py.
    page, here = await open_page(java_script_enabled=False), processes.b.url
    # The browser gets the session that ends: the other device's if possible, or else the own one.
    if OTHER in cause.ends:
        own = await asyncio.to_thread(log_in, processes.a, name)
        scene = Scene(processes, name, own, other=await log_in_by_page(page, here, name))
    else:
        assert OWN in cause.ends
        own = await log_in_by_page(page, here, name)
        scene = Scene(processes, name, own, await asyncio.to_thread(log_in, processes.a, name))
    since = await asyncio.to_thread(cause.bring_about, scene)
    while True:
        asked = time.monotonic() - since
        await page.goto(f"{here}/account")
        if re.search("/login", page.url):
            break
        assert asked <= ENDED_WITHIN_SECONDS, f"still answered when asked after {asked:.3f} s"
    await expect(page.get_by_role("button", name="Log in")).to_be_visible()
