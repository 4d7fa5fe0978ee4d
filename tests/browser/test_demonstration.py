"""The demonstration, clicked through as its greeting says."""

from pathlib import Path

from playwright.async_api import expect

from tests.browser.conftest import IN_ONE_LOOP, OpenPage, fill_and_log_in
from tests.clones import clone_into, serve

pytestmark = IN_ONE_LOOP


async def test_an_account_is_connected_at_the_demonstrations_server(
    open_page: OpenPage, tmp_path: Path
) -> None:
    """From what the terminal says to "Current account"; the server's page has no warning."""
    with serve(clone_into(tmp_path), "--demo") as demo:
        address = demo.link(r"(?m)^  (http://\S+)$")
        name = demo.link(r"log in as (\S+) with")
        password = demo.link(r"with the password (\S+)")
        server = demo.link(r"Connect an account on the demonstration's server, (\S+)\.\n")
        page = await open_page()
        await page.goto(address)
        await fill_and_log_in(page, name, password)
        await page.get_by_role("link", name="Accounts").first.click()
        await page.get_by_role("link", name="Connect an account").click()
        await page.get_by_label("Server").fill(server)
        await page.get_by_role("button", name="Continue").click()
        await page.get_by_role("link", name="Continue to").click()
        await expect(page.get_by_role("heading", name="Mastodon at localhost")).to_be_visible()
        await page.get_by_label("Log in as").fill("grace")
        await page.get_by_role("button", name="Allow").click()
        await page.get_by_role("button", name="Connect account").click()
        await expect(page.locator("#switcher-button")).to_contain_text(f"@grace@{server}")
        assert page.url.rstrip("/") == address
        await page.context.close()
