"""Forms in a real browser: submitted once, with a message if it is slow; errors get the focus."""

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from playwright.async_api import ConsoleMessage, Page, Request, expect

from quart_app.settings import with_setting
from tests.browser.conftest import IN_ONE_LOOP, OpenPage
from tests.conftest import PASSWORD, migrated_database, settings_for
from tests.processes import new_user
from tests.servers import Server, hypercorn

pytestmark = [IN_ONE_LOOP, pytest.mark.xdist_group("forms")]  # one worker, so one server

# How long the answer to a wrong password is held, so that the page's message can be read.
HELD = timedelta(seconds=1)


@pytest.fixture(scope="module")
def server_and_name(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, str]]:
    """A server and a user's name. One engine is enough, because this is about pages."""
    folder = tmp_path_factory.mktemp("forms")
    with migrated_database("sqlite", request, folder) as url:
        settings = with_setting(settings_for(url), failed_login=HELD)
        with hypercorn(settings, folder) as server:
            yield server, new_user(settings)


@pytest.fixture
def server(server_and_name: tuple[Server, str]) -> Server:
    return server_and_name[0]


@pytest.fixture
def name(server_and_name: tuple[Server, str]) -> str:
    return server_and_name[1]


def posts(server: Server, path: str) -> int:
    """Count the submissions that reached the server."""
    return server.log.read_text().count(f'"POST {path} ')


async def posts_once_logged(server: Server, path: str, at_least: int) -> int:
    """Count in the server's log, which is written after the response."""
    for _ in range(100):
        if posts(server, path) >= at_least:
            break
        await asyncio.sleep(0.05)
    return posts(server, path)


async def fill(page: Page, name: str, password: str) -> None:
    await page.get_by_label("Name or e-mail address").fill(name)
    await page.get_by_label("Password", exact=True).fill(password)


WAIT_SECONDS = 15
BUTTON = "main button:not([type])"
AT_REST = {"text": "Log in", "disabled": None, "said": None}
UNDER_WAY = {"text": "Log in", "disabled": "true", "said": ""}
SLOW = {"text": "Logging in …", "disabled": "true", "said": "Logging in …"}


WATCH = """selector => {
    const button = document.querySelector(selector);
    const tell = () => {
        const live = button.form.querySelector("[aria-live=polite]");
        console.log("button", JSON.stringify({
            text: button.textContent,
            disabled: button.getAttribute("aria-disabled"),
            said: live && live.textContent,
        }));
    };
    const {offsetWidth} = button;
    new MutationObserver(tell).observe(
        button.form, {attributes: true, childList: true, subtree: true}
    );
    globalThis.sameWidth = () => console.log("width", offsetWidth === button.offsetWidth);
}"""


async def watch(page: Page) -> list[Any]:
    """Return the button's state as a handle: a locator would wait for the next page."""
    states: list[Any] = []
    last: Any = AT_REST  # a script may change the form before it is submitted

    def hear(message: ConsoleMessage) -> None:
        kind, _, said = message.text.partition(" ")
        nonlocal last
        if kind == "button" and json.loads(said) != last:
            last = json.loads(said)
            states.append(last)
        elif kind == "width":
            states.append(said)

    page.on("console", hear)
    await page.evaluate(WATCH, BUTTON)
    return states


async def test_a_form_is_submitted_once_and_shows_that_it_is_slow(
    server: Server, name: str, open_page: OpenPage
) -> None:
    page = await open_page()
    await page.goto(f"{server.url}/login")
    await expect(page.get_by_label("Name or e-mail address")).to_be_focused()
    await fill(page, name, "not the password")
    before = posts(server, "/login")
    states = await watch(page)
    # While the answer is held; click() submits like Enter does.
    await page.evaluate(
        "selector => setTimeout("
        "    () => { sameWidth(); document.querySelector(selector).click(); }, 700"
        ")",
        BUTTON,
    )
    await page.dblclick(BUTTON)
    await expect(page).to_have_title(re.compile("^Error: "))
    assert await posts_once_logged(server, "/login", before + 1) == before + 1
    assert states == [UNDER_WAY, SLOW, "true"]

    await expect(page.get_by_role("alert")).to_be_focused()
    await expect(page.get_by_label("Name or e-mail address")).to_have_value(name)
    await expect(page.get_by_label("Password", exact=True)).to_have_value("")
    await expect(page.get_by_text("Ask an administrator")).to_be_visible()
    await fill(page, name, PASSWORD)
    await page.dblclick(BUTTON)
    await expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()
    assert await posts_once_logged(server, "/login", before + 2) == before + 2


async def test_an_error_links_to_its_field_and_the_input_is_kept(
    server: Server, name: str, open_page: OpenPage
) -> None:
    page = await open_page()
    await page.goto(f"{server.url}/login?next=/platforms/new/token")
    await fill(page, name, PASSWORD)
    await page.keyboard.press("Enter")
    await page.get_by_label("Name (optional)").fill("Photos, 写真")
    await page.get_by_label("Server", exact=True).fill("not an instance")
    await page.get_by_label("Access token", exact=True).fill("a-token")
    await page.get_by_role("button", name="Connect account").click()

    await expect(page).to_have_title(re.compile("^Error: Use an access token"))
    summary = page.get_by_role("alert")
    await expect(summary).to_be_focused()
    await expect(summary).to_be_in_viewport()
    instance = page.get_by_label("Server", exact=True)
    await expect(instance).to_have_attribute("aria-invalid", "true")
    await expect(instance).to_have_accessible_description(
        re.compile("Enter a server or a handle, such as")
    )
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")  # the link in the summary
    await expect(instance).to_be_focused()
    await expect(instance).to_have_value("not an instance")
    await expect(page.get_by_label("Name (optional)")).to_have_value("Photos, 写真")
    await expect(page.get_by_label("Access token", exact=True)).to_have_value("a-token")


async def test_a_password_can_be_pasted_and_shown(
    server: Server, name: str, open_page: OpenPage
) -> None:
    page = await open_page()
    await page.goto(f"{server.url}/login")
    username = page.get_by_label("Name or e-mail address")
    password = page.get_by_label("Password", exact=True)
    await username.fill(PASSWORD)
    await username.press("Control+a")
    await username.press("Control+c")
    await password.press("Control+v")
    await expect(password).to_have_value(PASSWORD)
    await expect(password).to_have_attribute("type", "password")
    await page.get_by_role("button", name="Show password").click()
    await expect(password).to_have_attribute("type", "text")
    await page.get_by_role("button", name="Hide password").click()
    await expect(password).to_have_attribute("type", "password")
    await page.get_by_role("button", name="Show password").press("Enter")
    await username.fill(name)
    await username.press("Enter", no_wait_after=True)
    await expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()

    plain = await open_page(java_script_enabled=False)
    await plain.goto(f"{server.url}/login")
    await expect(plain.locator(".reveal")).to_have_count(0)


async def test_a_form_can_be_submitted_again_after_the_navigation_was_stopped(
    server: Server, name: str, open_page: OpenPage
) -> None:
    page = await open_page()
    await page.goto(f"{server.url}/login")
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    await page.route("**/login", lambda _route: asyncio.sleep(0))  # there is no response
    states, expected = await watch(page), []
    for end in (
        "stop()",
        # This is how the back button restores a page; the driver disables the browser's own cache
        # for it.
        "dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true})); stop()",
    ):
        await fill(page, name, PASSWORD)
        # Counted from the submission, because the click itself takes time.
        await page.evaluate(
            f"addEventListener('submit', () => setTimeout(() => {{ {end} }}, 700), {{once: true}})"
        )
        await page.click(BUTTON)
        expected += [UNDER_WAY, SLOW, AT_REST]
        async with asyncio.timeout(WAIT_SECONDS):
            while len(states) < len(expected):
                await page.wait_for_timeout(20)
    assert states == expected
    assert len(sent) == 2
    await page.unroute_all()
    await page.click(BUTTON)
    await expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()
