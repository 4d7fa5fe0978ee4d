"""An administrator's tasks in the browser, from creating a user to reading the audit log."""

import asyncio
import re
import secrets
from itertools import pairwise

import pytest
from playwright.async_api import Page, expect

from quart_app.model import Role
from tests.browser.conftest import IN_ONE_LOOP, OpenPage, fill_and_log_in
from tests.browser.test_session_ends import log_in_by_page
from tests.conftest import PASSWORD
from tests.processes import Processes

pytestmark = [IN_ONE_LOOP, pytest.mark.sqlite_unless_thorough, pytest.mark.untimed]


async def test_a_user_is_created_with_a_link_given_a_role_and_deactivated(
    processes: Processes, open_page: OpenPage
) -> None:
    name, url = f"new-{secrets.token_hex(4)}", processes.a.url
    admin = await open_page(permissions=["clipboard-read", "clipboard-write"])
    await log_in_by_page(admin, url, await asyncio.to_thread(processes.new_user, Role.ADMIN))

    await admin.get_by_role("link", name="Users").click()
    await admin.get_by_role("link", name="New user").click()
    await admin.get_by_label("Name", exact=True).fill(name)
    await admin.get_by_label("E-mail address").fill(f"{name}@example.com")
    await admin.get_by_role("button", name="Create user").click()
    link = await admin.get_by_label("Link").input_value()
    await admin.get_by_role("button", name="Copy link").click()
    await expect(admin.get_by_text("Copied.")).to_be_visible()
    assert await admin.evaluate("navigator.clipboard.readText()") == link
    await admin.get_by_role("link", name="Done").click()

    # The new user, in another browser and on the other process.
    here = processes.b.url
    user = await open_page()
    await user.goto(here + re.sub("^https?://[^/]+", "", link))
    await user.get_by_label("New password").fill(PASSWORD)
    await user.get_by_role("button", name="Set password").click()
    await expect(user.get_by_text("Your new password is set")).to_be_visible()
    await log_in_by_page(user, here, name)
    await expect(user.get_by_role("link", name="Audit log")).to_have_count(0)

    await admin.get_by_role("link", name="Change role").click()
    await admin.get_by_label("Role").select_option("Administrator")
    await admin.get_by_role("button", name="Change role").click()
    await expect(admin.get_by_text("applies at once")).to_be_visible()
    await user.get_by_role("link", name="Devices").click()
    await user.get_by_role("link", name="Audit log").click()
    await expect(user.get_by_role("img", name="Logins per day", exact=True)).to_be_visible()

    await admin.get_by_role("link", name="Deactivate", exact=True).click()
    await admin.get_by_role("button", name=f"Deactivate {name}").click()
    await expect(admin.get_by_text("This user is deactivated")).to_be_visible()
    await expect(admin.get_by_role("link", name="Activate", exact=True)).to_be_visible()
    # The page may leave before or after the next request.
    await user.wait_for_timeout(1000)
    await user.goto(f"{here}/admin/users")
    await expect(user).to_have_url(re.compile("/login"))
    await fill_and_log_in(user, name)
    await expect(user.get_by_role("alert")).to_contain_text("Wrong name or password")

    await admin.get_by_role("link", name="about this user").click()
    for words in ("User created", "Password reset", "Role changed", "User deactivated"):
        await expect(admin.get_by_role("rowheader", name=words).first).to_be_visible()
    await expect(admin.get_by_label("User")).to_have_value(name)


async def test_the_chart_stays_readable_and_the_page_fits_a_narrow_screen(
    processes: Processes, open_page: OpenPage
) -> None:
    page = await open_page(viewport={"width": 320, "height": 640})
    await log_in_by_page(
        page, processes.a.url, await asyncio.to_thread(processes.new_user, Role.ADMIN)
    )
    await page.goto(f"{processes.a.url}/admin/audit")
    narrow = await _height_of_letters(page)
    assert narrow >= 11
    await page.locator("summary").click()
    await expect(page.get_by_role("columnheader", name="Logins")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == 320
    labels = page.locator(".chart-logins text")
    boxes = [await labels.nth(each).bounding_box() for each in range(await labels.count())]
    spans = [(box["x"], box["x"] + box["width"]) for box in boxes if box]
    assert len(spans) == 4
    assert spans[0][0] >= 0
    assert spans[-1][1] <= 320
    assert all(left[1] < right[0] for left, right in pairwise(spans))
    await page.set_viewport_size({"width": 1280, "height": 640})
    assert await _height_of_letters(page) == narrow


async def _height_of_letters(page: Page) -> float:
    size: str = await page.locator(".chart-logins text").first.evaluate(
        "label => getComputedStyle(label).fontSize"
    )
    return float(size.removesuffix("px"))
