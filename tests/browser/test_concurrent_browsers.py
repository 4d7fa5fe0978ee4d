"""Twenty users, each in a browser of their own, press "Log in" at the same moment."""

import asyncio
import secrets

import pytest
from playwright.async_api import Page, expect

from quart_app.composition import build_services
from quart_app.model import Role
from tests.browser.conftest import IN_ONE_LOOP, OpenPage
from tests.callers import NOBODY
from tests.conftest import PASSWORD
from tests.processes import Processes

PEOPLE = 16
DEVICES = 5  # of one of them
# They share the cores with the browser, which draws twenty pages.
PATIENCE_MS = 60_000
# With other browsers running, the servers would starve for seconds and rightly answer 503.
pytestmark = [IN_ONE_LOOP, pytest.mark.sqlite_unless_thorough, pytest.mark.alone]
SCRIPTED = 5  # only every fifth page runs scripts: twenty with scripts would starve the servers


async def create_people(processes: Processes) -> list[str]:
    """Create users whose password is PASSWORD; return their names."""
    names = [f"person-{secrets.token_hex(4)}" for _ in range(PEOPLE)]
    built = build_services(processes.settings)
    for name in names:
        await built.services.users.create(
            NOBODY, username=name, email=f"{name}@example.com", role=Role.VIEWER, password=PASSWORD
        )
    await built.close()
    return names


async def test_twenty_browsers_log_in_at_once_each_as_its_own_user(
    processes: Processes, open_page: OpenPage
) -> None:
    names = await create_people(processes)
    whose = names + names[:1] * (DEVICES - 1)
    assert len(whose) == 20
    barrier = asyncio.Barrier(len(whose))

    async def log_in(number: int, name: str) -> Page:
        url = (processes.a if number % 2 else processes.b).url
        page = await open_page(java_script_enabled=number % SCRIPTED == 0)
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(f"{url}/account")
        await page.get_by_label("Name or e-mail address").fill(name)
        await page.get_by_label("Password", exact=True).fill(PASSWORD)
        await barrier.wait()
        await page.get_by_role("button", name="Log in").click()
        await expect(page).to_have_url(f"{url}/account", timeout=PATIENCE_MS)
        return page

    pages = await asyncio.gather(*map(log_in, range(len(whose)), whose))

    for page, name in zip(pages, whose, strict=True):
        await expect(page.get_by_text(name, exact=True)).to_be_visible()
    for page in (pages[0], pages[-1]):
        await page.get_by_role("link", name="Devices").click()
        await expect(page.get_by_role("heading", name="Devices")).to_be_visible()
        await expect(page.locator(".cards > li")).to_have_count(DEVICES)
        await expect(page.get_by_text("current session", exact=True)).to_have_count(1)
