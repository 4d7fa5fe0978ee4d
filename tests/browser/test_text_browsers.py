"""Every page in lynx and w3m, without controls that need scripts and without hidden text."""

import asyncio
import re
import shutil

import pytest
from playwright.async_api import Page

from tests.browser.conftest import IN_ONE_LOOP, OpenPage
from tests.browser.page_examples import EXAMPLES, Example, sends
from tests.browser.sample_site import Scene, enter
from tests.cases import first_unless_thorough
from tests.conftest import lacking

pytestmark = [IN_ONE_LOOP, pytest.mark.sqlite_unless_thorough]

TEXT_BROWSERS = {
    "lynx": ("-stdin", "-dump", "-nolist", "-assume_charset=utf-8", "-display_charset=utf-8"),
    "w3m": ("-dump", "-T", "text/html", "-I", "utf-8", "-O", "utf-8"),
}
# Parts that scripts add: buttons that show a password or copy a link, the theme, the switcher's
# search.
SCRIPTED = re.compile(
    r"\b(?:Show|Hide) [^\n]*(?:[Pp]assword|token)|\bTheme\b|Copy the link|(?:\d|None) found\b"
)
# Controls outside a form do nothing, except for those that the browser itself handles.
INERT = """() => [...document.querySelectorAll("button, input, select, textarea")]
    .filter((each) => !each.readOnly && !each.hasAttribute("popovertarget"))
    .filter((each) => !each.form || !each.form.action || each.type === "button")
    .map((each) => each.outerHTML)"""
HIDDEN = """() => [...document.querySelectorAll("[hidden], template, noscript")]
    .filter((each) => each.textContent.trim() || each.children.length)
    .map((each) => each.outerHTML)"""


@pytest.fixture(params=TEXT_BROWSERS)
def text_browser(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The command that prints a page, read from standard input, as text."""
    path = shutil.which(request.param)
    if path is None:
        lacking(request.config, f"{request.param} (the Debian package)")
    return (str(path), *TEXT_BROWSERS[request.param])


async def dumped(command: tuple[str, ...], html: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    text, _ = await process.communicate(html.encode())
    assert process.returncode == 0
    return text.decode()


async def show_without_scripts(page: Page, scene: Scene, example: Example) -> None:
    """Show the page; submit its form only if the example does nothing else."""
    await page.goto(scene.server.url + example.path.format_map(scene.values))
    if example.act and example.act.__qualname__.startswith(sends.__name__):
        async with page.expect_navigation():
            await example.act(page, scene.values)


@pytest.mark.thorough
@pytest.mark.parametrize("who", EXAMPLES)
async def test_a_text_browser_shows_nothing_that_needs_scripts(
    scene: Scene, open_page: OpenPage, who: str, text_browser: tuple[str, ...]
) -> None:
    page = await open_page(java_script_enabled=False)
    await enter(page.context, scene, who)
    found = []
    for example in (example for each in EXAMPLES[who].values() for example in each):
        await show_without_scripts(page, scene, example)
        text = await dumped(text_browser, await page.content())
        heading = await page.locator("main h1").first.inner_text()
        assert " ".join(heading.split()) in " ".join(text.split()), example.name
        found += [f"{example.name}: shows {each[0]!r}" for each in SCRIPTED.finditer(text)]
    assert found == []


@pytest.mark.parametrize("who", first_unless_thorough(2, sorted(EXAMPLES, key="member".__ne__)))
async def test_every_control_of_a_page_works_without_scripts(
    scene: Scene, open_page: OpenPage, who: str
) -> None:
    page = await open_page(java_script_enabled=False)
    await enter(page.context, scene, who)
    found = []
    for example in (example for each in EXAMPLES[who].values() for example in each):
        await show_without_scripts(page, scene, example)
        for script in (INERT, HIDDEN):
            found += [f"{example.name}: {each}" for each in await page.evaluate(script)]
    assert found == []


async def test_a_text_browser_shows_the_current_account_once(
    scene: Scene, open_page: OpenPage, text_browser: tuple[str, ...]
) -> None:
    page = await open_page(java_script_enabled=False)
    await enter(page.context, scene, "member")
    await page.goto(f"{scene.server.url}/account")
    text = await dumped(text_browser, await page.content())
    assert text.count("current") == 1
