"""A real Chromium, Debian's, driven by Playwright."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from chromium import chromium_path as find_chromium
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.browser.sample_site import scene
from tests.conftest import PASSWORD, lacking
from tests.server.conftest import name, processes

__all__ = ["name", "processes", "scene"]  # fixtures; the first two come from the server's tests

# In a container Chromium runs as root, without its sandbox. The other options prevent background
# network traffic.
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
    path = find_chromium()
    if path is None:
        lacking(request.config, "Chromium (chromium-headless-shell or chromium)")
    return path


EXPECT_MS = 15_000  # a page may wait for a delayed response, a hash and a busy machine
# Starting it takes seconds, so it is started once; the tests therefore share an event loop, too.
IN_ONE_LOOP = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium(chromium_path: Path) -> AsyncIterator[Browser]:
    expect.set_options(timeout=EXPECT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path, args=_ARGUMENTS)
        yield browser
        await browser.close()


async def fill_and_log_in(page: Page, name: str, password: str = PASSWORD) -> None:
    """Fill in the login form and submit it."""
    await page.get_by_label("Name or e-mail address").fill(name)
    await page.get_by_label("Password", exact=True).fill(password)
    await page.get_by_role("button", name="Log in").click()


OpenPage = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(chromium: Browser, measured: Callable[[str], None]) -> AsyncIterator[OpenPage]:
    """Open a page in an empty browser context; an error on its console fails the test."""
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
                # Responses of 400 and above and a stopped server are logged as errors, too.
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
        # Seen once: Playwright waited forever; closing the browser closes the context, too.
        except TimeoutError:
            measured(f"a browser's context was not closed within {_CLOSED_WITHIN_SECONDS} s")
    assert complaints == []
