"""The main job in a real browser, on a database of the legacy application."""

import re
from pathlib import Path

import pytest
from playwright.async_api import expect
from sqlalchemy import URL

from quart_app.settings import Settings
from quart_app.storage.schema import upgrade_schema
from tests.browser.conftest import IN_ONE_LOOP, OpenPage, fill_and_log_in
from tests.conftest import ENCRYPTION_KEY, SECRET_KEY
from tests.legacy.legacy_database import PASSWORDS, build_legacy_database
from tests.peers.fixtures import Peers, access_token, reaching
from tests.servers import hypercorn

pytestmark = [IN_ONE_LOOP, pytest.mark.sqlite_unless_thorough]


@pytest.fixture
async def legacy_settings(empty_database_url: URL) -> Settings:
    """A legacy database, upgraded."""
    build_legacy_database(empty_database_url, encryption_key=ENCRYPTION_KEY)
    await upgrade_schema(empty_database_url)
    return Settings(
        secret_key=SECRET_KEY,
        platform_encryption_keys=(ENCRYPTION_KEY,),
        database_url=empty_database_url,
    )


async def test_a_legacy_user_logs_in_switches_twice_and_logs_out(
    legacy_settings: Settings, tmp_path: Path, open_page: OpenPage
) -> None:
    with hypercorn(legacy_settings, tmp_path) as server:
        page = await open_page()
        await page.goto(f"{server.url}/platforms")
        # Redirected back to it after the login.
        await expect(page).to_have_url(re.compile("/login"))
        await fill_and_log_in(page, "ada", "not her password")
        await expect(page.get_by_role("alert")).to_contain_text("Wrong name or password")
        await expect(page.get_by_label("Name or e-mail address")).to_have_value("ada")
        await fill_and_log_in(page, "ada", PASSWORDS["ada"])
        await expect(page).to_have_url(f"{server.url}/platforms")

        await page.get_by_role("link", name="Dashboard").click()
        active = page.locator("#current-account")  # the heading that names the current account
        first = await active.inner_text()
        others = await page.locator(".choices button strong").all_inner_texts()
        assert len({first, *others}) == 3
        for name in others:
            await page.get_by_role("button", name=name).click()
            await expect(active).to_have_text(name)
            await expect(page.get_by_role("status")).to_have_text(f"Switched to {name}")
            await page.reload()
            await expect(active).to_have_text(name)

        await page.get_by_role("button", name="Log out").click()
        await expect(page).to_have_url(re.compile("/login"))
        await expect(page.get_by_role("status")).to_contain_text("logged out")
        await page.go_back()
        await expect(page.locator("#current-account")).to_have_count(0)
        await page.goto(server.url)
        await expect(page).to_have_url(re.compile("/login"))


async def test_the_main_job_works_without_javascript(
    legacy_settings: Settings, tmp_path: Path, open_page: OpenPage, running_peers: Peers
) -> None:
    with hypercorn(reaching(legacy_settings, running_peers), tmp_path) as server:
        page = await open_page(java_script_enabled=False)
        await page.goto(server.url)
        await fill_and_log_in(page, "ada", PASSWORDS["ada"])
        await expect(page.locator("#current-account")).to_be_visible()
        await page.get_by_role("link", name="Accounts", exact=True).click()
        await page.locator("main").get_by_role("link", name="Connect an account").click()
        await page.get_by_role("link", name="Use an access token instead").click()
        peer = running_peers["mastodon-4-2"]
        await page.get_by_label("Server", exact=True).fill(peer.host)
        await page.get_by_label("Access token").fill(access_token(peer))
        await page.get_by_label("Name (optional)").fill("A fourth, 第四")
        await page.get_by_role("button", name="Connect account").click()
        await expect(page.get_by_role("heading", name="A fourth, 第四")).to_be_visible()
        await page.get_by_role("button", name="More for A fourth, 第四", exact=True).click()
        await page.get_by_role("link", name="Rename A fourth, 第四", exact=True).click()
        await page.get_by_label("Name", exact=True).fill("A fifth")
        await page.get_by_role("button", name="Rename").click()
        menu = page.get_by_role("button", name="More for A fifth", exact=True)
        await menu.click()
        await page.get_by_role("button", name="Switch off A fifth", exact=True).click()
        await page.get_by_role("button", name="Switch on A fifth", exact=True).click()
        await menu.click()
        await expect(page.get_by_role("link", name="Remove A fifth", exact=True)).to_be_visible()
        await page.get_by_role("link", name="Profile", exact=True).click()
        await page.get_by_label("Current password").fill(PASSWORDS["ada"])
        await page.get_by_label("New password").fill("a new and longer password")
        await page.get_by_role("button", name="Change").click()
        await expect(page.get_by_role("status")).to_contain_text("password has been changed")
