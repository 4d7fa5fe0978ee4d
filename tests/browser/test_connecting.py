"""Connecting an account in a real browser: from one button to "Current account"."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from sqlalchemy import URL

from quart_app.settings import Settings
from tests.browser.conftest import IN_ONE_LOOP, OpenPage, fill_and_log_in
from tests.browser.test_keyboard import Keyboard
from tests.conftest import Member, settings_for
from tests.peers.fixtures import Peers, reaching
from tests.peers.snac import Snac
from tests.servers import Server, hypercorn_at_public_url

pytestmark = [IN_ONE_LOOP, pytest.mark.sqlite_unless_thorough]


@pytest.fixture
def server(settings: Settings, tmp_path: Path, member: Member) -> Iterator[Server]:
    """A server at the address that other servers send browsers back to. The member is ada."""
    assert member.username == "ada"
    with hypercorn_at_public_url(settings, tmp_path) as server:
        yield server


@pytest.fixture
def settings(database_url: URL, running_peers: Peers) -> Settings:
    return reaching(settings_for(database_url), running_peers)


async def log_in(page: Page, server: Server, path: str) -> None:
    await page.goto(f"{server.url}{path}")
    await fill_and_log_in(page, "ada")
    await expect(page).to_have_url(f"{server.url}{path}")


async def allow_by_keyboard(page: Page, username: str) -> None:
    """From our page, whose link has the focus, to the server's, and back."""
    link = page.locator("main").get_by_role("link", name="Continue to")
    await expect(link).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Allow")).to_be_visible()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Control+a")
    await page.keyboard.type(username)
    await page.keyboard.press("Enter")


async def test_an_account_is_connected_and_reconnected_by_keyboard_alone(
    server: Server, open_page: OpenPage, peers: Peers
) -> None:
    peer = peers["mastodon-4-6"]
    handle = f"@grace@{peer.host}"
    page = await open_page(ignore_https_errors=True)
    await log_in(page, server, "/platforms")
    keys, main = Keyboard(page), page.locator("main")
    await keys.use(main.get_by_role("link", name="Connect an account"))
    await expect(main.get_by_label("Server", exact=True)).to_be_focused()
    await page.keyboard.type(handle)
    await page.keyboard.press("Enter")
    await allow_by_keyboard(page, "grace")
    await keys.use(main.get_by_role("button", name="Connect account"))
    await expect(page.get_by_role("status")).to_have_text(
        f"Account connected. Switched to {handle}"
    )
    await expect(page.locator("#current-account")).to_have_text(handle)
    await expect(page.locator("#switcher-button")).to_contain_text("Current account:")
    await expect(page.locator("#switcher-button strong")).to_have_text(handle)

    for token in peer.records.tokens.values():
        token.is_revoked = True
    await page.goto(f"{server.url}/platforms")
    row = main.locator("li", has=page.get_by_role("heading", name=handle))
    await keys.use(row.get_by_role("button", name=f"More for {handle}"))
    await keys.use(row.get_by_role("button", name=f"Check {handle}"))
    await expect(page.get_by_role("status")).to_contain_text("Reconnect the account.")
    await expect(row).to_contain_text("reconnect needed")
    await keys.use(row.get_by_role("button", name=f"Reconnect {handle}"))
    await allow_by_keyboard(page, "grace")
    await keys.use(main.get_by_role("button", name="Reconnect account"))
    await expect(page.get_by_role("status")).to_contain_text("Account reconnected.")
    await expect(page.locator("#current-account")).to_have_text(handle)
    await page.goto(f"{server.url}/platforms")
    await expect(row).to_contain_text("current")
    await expect(row).not_to_contain_text("reconnect needed")


async def test_an_account_is_connected_without_javascript(
    server: Server, open_page: OpenPage, snac: Snac
) -> None:
    page = await open_page(java_script_enabled=False, ignore_https_errors=True)
    await log_in(page, server, "/platforms")
    main = page.locator("main")
    await main.get_by_role("link", name="Connect an account").click()
    await main.get_by_label("Server", exact=True).fill(snac.host)
    await main.get_by_role("button", name="Continue").click()
    await main.get_by_role("link", name="Continue to").click()
    await page.locator("[name=login]").fill("alice")
    await page.locator("[name=passwd]").fill(snac.passwords["alice"])
    await page.locator("[type=submit]").click()
    await expect(main.get_by_role("heading", name="Connect this account?")).to_be_visible()
    await main.get_by_role("button", name="Connect account").click()
    await expect(page.locator("#current-account")).to_have_text(f"@alice@{snac.host}")
