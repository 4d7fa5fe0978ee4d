"""A real Chromium, Debian's, driven by Playwright."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.browser.scenes import scene
from tests.conftest import PASSWORD, lacking
from tests.server.conftest import name, processes

__all__ = ["name", "processes", "scene"]  # fixtures; the first two are those of the server's tests

CHROMIUM = Path("/usr/bin/chromium")
# In a container Chromium runs as root, without its sandbox; the others keep it from calling home.
_CLOSED_WITHIN_SECONDS = 10
_ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
]


@pytest.fixture(scope="session")
def chromium_path(request: pytest.FixtureRequest) -> Path:
    if not CHROMIUM.exists():
        lacking(request.config, f"Chromium ({CHROMIUM})")
    return CHROMIUM


EXPECT_MS = 15_000  # a page may wait for a held answer, a hash and a busy machine
# To start it takes seconds, so it is started once; for that the tests share an event loop, too.
IN_ONE_LOOP = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(chromium_path: Path) -> AsyncIterator[Browser]:
    expect.set_options(timeout=EXPECT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path, args=_ARGUMENTS)
        yield browser
        await browser.close()


async def fill_and_log_in(page: Page, name: str, password: str = PASSWORD) -> None:
    """Fill the form on the page for logging in, and send it."""
    await page.get_by_label("Name or e-mail address").fill(name)
    await page.get_by_label("Password", exact=True).fill(password)
    await page.get_by_role("button", name="Log in").click()


OpenPage = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(chromium: Browser, measured: Callable[[str], None]) -> AsyncIterator[OpenPage]:
    """Open a page in a browser with nothing in it; an error on its console is a failure."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    async def open_page(**options: object) -> Page:
        context = await chromium.new_context(**options)  # type: ignore[arg-type] # any of its options
        contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text)
                # An answer of 400 or more is one, too, and so is a server that stops.
                if message.type == "error" and not message.text.startswith("Failed to load")
                else None
            ),
        )
        return page

    yield open_page
    for context in contexts:
        try:
            async with asyncio.timeout(_CLOSED_WITHIN_SECONDS):
                await context.close()
        except TimeoutError:  # seen once: Playwright waited for ever; the browser ends it, too
            measured(f"a browser's context was not closed within {_CLOSED_WITHIN_SECONDS} s")
    assert complaints == []
