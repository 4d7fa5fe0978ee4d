"""Tabs and devices agree on the current account, and on when and why a session ends.

Times are measured in the pages with the machine's clock, and printed at the end of the run.
"""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import BrowserContext, Locator, Page, Request, Response, expect

from quart_app.settings import Settings
from tests.browser.conftest import IN_ONE_LOOP, OpenPage, fill_and_log_in
from tests.conftest import PASSWORD
from tests.processes import ENDED_WITHIN_SECONDS, Processes, connect, log_in, log_out, new_user
from tests.servers import hypercorn

# The database's part in it, tests/server/test_session_events.py sees on both engines. Those that
# hold a promised bound on time say that they are alone.
pytestmark = [IN_ONE_LOOP, pytest.mark.sqlite_unless_thorough, pytest.mark.untimed]

ANNOUNCED_WITHIN_MS = 200
RECONNECTED_WITHIN_SECONDS = 30
NOTIFIED_WITHIN_MS = ENDED_WITHIN_SECONDS * 1000
Measured = Callable[[str], None]

# Return when the page first shows a text, by the clock that all pages of the machine share.
RECORD_WHEN_ANNOUNCED = """() => {
  window.saidAt = {};
  new MutationObserver(() => {
    const text = document.getElementById("status").textContent.trim();
    if (text) window.saidAt[text] ??= performance.timeOrigin + performance.now();
  }).observe(document.getElementById("status"), { childList: true, subtree: true });
}"""
# Switch with the page's own switcher, and return when.
SWITCH = """(id) => new Promise((resolve) => {
  document.addEventListener("session:switched", () =>
    resolve(performance.timeOrigin + performance.now()), { once: true });
  document.querySelector(`form[data-switch="${id}"]`).requestSubmit();
})"""
NOW_MS = "performance.timeOrigin + performance.now()"


async def enter(page: Page, url: str, name: str, path: str = "/") -> Page:
    """Log in with the form; the browser is then at the requested path."""
    await page.goto(url + path)
    await fill_and_log_in(page, name)
    await expect(page).to_have_url(url + path)
    return page


async def another_tab(page: Page, path: str) -> Page:
    """Open a page in another tab of the same browser."""
    tab = await page.context.new_page()
    url = urlsplit(page.url)
    await tab.goto(f"{url.scheme}://{url.netloc}{path}")
    return tab


async def switch(page: Page, id_: int) -> float:
    """Switch, and return when the page was notified."""
    await page.locator(f'form[data-switch="{id_}"]').first.wait_for(state="attached")
    return float(await page.evaluate(SWITCH, id_))


async def cookie_of(context: BrowserContext) -> str:
    return next(each["value"] for each in await context.cookies() if each["name"] == "session")


async def wait_for_stream(*pages: Page) -> None:
    """Wait until one of the browser's pages has the stream."""
    for page in pages:
        await page.wait_for_function(
            "async () => (await navigator.locks.query()).held.some((lock) =>"
            " lock.name === 'quart_app stream')"
        )
    await asyncio.sleep(0.3)  # it has the lock and now requests the stream


async def left_at(page: Page) -> tuple[float, dict[str, list[str]]]:
    """Wait until the page has left for the login page; return when, and the query."""
    await page.wait_for_url(re.compile(r"/login\?"))
    at = await page.evaluate(
        "performance.timeOrigin + performance.getEntriesByType('navigation')[0].responseEnd"
    )
    return float(at), parse_qs(urlsplit(page.url).query, keep_blank_values=True)


async def announced_at(page: Page, text: str) -> float:
    await page.wait_for_function("(text) => window.saidAt[text]", arg=text)
    return float(await page.evaluate("(text) => window.saidAt[text]", text))


@pytest.fixture
def accounts(processes: Processes, name: str) -> tuple[int, int, int]:
    """The ids of three connections: Apple, Berry and Cherry."""
    cookie = log_in(processes.a, name)
    first, second, third = (
        connect(processes.a, cookie, each) for each in ("Apple", "Berry", "Cherry")
    )
    log_out(processes.a, cookie)
    return first, second, third


@pytest.mark.alone
async def test_a_switch_in_one_tab_is_announced_in_the_others(
    processes: Processes,
    name: str,
    accounts: tuple[int, int, int],
    open_page: OpenPage,
    measured: Measured,
) -> None:
    first = await enter(await open_page(), processes.a.url, name)
    others = [await another_tab(first, path) for path in ("/account", "/platforms")]
    for other in others:
        await other.evaluate(RECORD_WHEN_ANNOUNCED)
    took = []
    for id_, account in zip(accounts[1:], ("Berry", "Cherry"), strict=True):
        at = await switch(first, id_)
        for other in others:
            took.append(await announced_at(other, f"Switched to {account}") - at)
            shown = await other.evaluate("document.body.dataset.platformConnectionId")
            assert shown == str(id_)
    measured(f"a switch is said in other tabs after {max(took):.0f} ms")
    assert max(took) < ANNOUNCED_WITHIN_MS


async def test_two_tabs_that_switch_at_once_show_what_the_cookie_says(  # noqa: PLR0917 fixtures
    processes: Processes,
    name: str,
    accounts: tuple[int, int, int],
    open_page: OpenPage,
    measured: Measured,
    thorough: bool,  # noqa: FBT001 a fixture
) -> None:
    first = await enter(await open_page(), processes.a.url, name)
    second = await another_tab(first, "/account")
    current, took = accounts[0], []
    for _ in range(30 if thorough else 5):
        began = time.monotonic()
        one, other = (id_ for id_ in accounts if id_ != current)
        await asyncio.gather(switch(first, one), switch(second, other))
        state = processes.a.ask("GET", "/api/session_state", await cookie_of(first.context))
        current = state.json()["platform_connection_id"]
        for page in (first, second):
            await page.wait_for_function(
                "(id) => document.body.dataset.platformConnectionId === id",
                arg=str(current),
            )
        took.append(time.monotonic() - began)
        await asyncio.sleep(0.2)  # and nothing changes after that
        for page in (first, second):
            shown = await page.evaluate("document.body.dataset.platformConnectionId")
            assert shown == str(current)
    measured(f"two tabs that switched at once agreed after {max(took) * 1000:.0f} ms")


@pytest.mark.alone
async def test_other_devices_are_notified_of_changed_connections(
    processes: Processes,
    name: str,
    accounts: tuple[int, int, int],
    open_page: OpenPage,
    measured: Measured,
) -> None:
    here = await enter(await open_page(), processes.a.url, name)
    there = await enter(await open_page(), processes.b.url, name, "/account")
    await wait_for_stream(here, there)
    tab = await another_tab(there, "/account")  # which has no stream of its own
    for page in (there, tab):
        await page.evaluate(
            """() => { window.changedAt = [];
            document.addEventListener("session:platforms-changed", () =>
              window.changedAt.push(performance.timeOrigin + performance.now())); }"""
        )
    cookie, server = await cookie_of(here.context), processes.a
    path = f"/api/platforms/{accounts[1]}"
    took = []
    acts: list[Callable[[], object]] = [
        lambda: connect(server, cookie, "Damson"),
        lambda: server.ask("PATCH", path, cookie, json={"name": "Blackberry"}),
        lambda: server.ask("POST", f"{path}/default", cookie),
        lambda: server.ask("PATCH", path, cookie, json={"is_active": False}),
        lambda: server.ask("DELETE", path, cookie),
    ]
    for number, act in enumerate(acts, 1):
        act()
        at = await here.evaluate(NOW_MS)
        for page in (there, tab):
            await page.wait_for_function(
                "(number) => window.changedAt.length >= number", arg=number
            )
            took.append(await page.evaluate("window.changedAt.at(-1)") - at)
    measured(f"another device showed the changed accounts after {max(took):.0f} ms")
    assert max(took) < NOTIFIED_WITHIN_MS
    # The current account of this device changes only if it was removed.
    shown = await there.evaluate("document.body.dataset.platformConnectionId")
    assert shown == str(accounts[0])
    greeting = "Welcome. If you use other devices, they will show this login."
    assert await there.get_by_role("status").inner_text() == greeting  # and nothing changed since
    server.ask("DELETE", f"/api/platforms/{accounts[0]}", cookie)
    for page in (there, tab):
        await expect(page.get_by_role("status")).to_have_text(
            "Apple was removed or switched off. Choose another account."
        )


@pytest.mark.alone
async def test_a_logout_leaves_the_page_in_every_tab_and_on_every_device(
    processes: Processes, name: str, open_page: OpenPage, measured: Measured
) -> None:
    first = await enter(await open_page(), processes.a.url, name)
    second = await another_tab(first, "/devices")
    await wait_for_stream(first, second)
    at = await first.evaluate(NOW_MS)
    await first.get_by_role("button", name="Log out", exact=True).click()
    left, query = await left_at(second)
    measured(f"logged out in one tab, the other was at the login page after {left - at:.0f} ms")
    assert left - at < NOTIFIED_WITHIN_MS
    assert query == {"next": ["/devices"]}
    await expect(second.get_by_role("status")).to_have_text(
        "You logged out in another tab or window."
    )

    # After a login in one tab, the other returns to its page.
    await fill_and_log_in(first, name)
    await expect(second).to_have_url(f"{processes.a.url}/devices")

    there = await enter(await open_page(), processes.b.url, name, "/platforms/new/token")
    await there.get_by_label("Name (optional)").fill("half typed")
    await wait_for_stream(first, there)
    await second.goto(f"{processes.a.url}/account")
    await second.goto(f"{processes.a.url}/devices")
    at = await first.evaluate(NOW_MS)
    log_out(processes.a, await cookie_of(first.context), everywhere=True)
    took = []
    for page, path in ((second, "/devices"), (there, "/platforms/new/token")):
        left, query = await left_at(page)
        took.append(left - at)
        assert query["next"] == [path]
        assert set(query) == {"next"}
        await expect(page.get_by_role("status")).to_contain_text("on every device")
    unsent = "Your input was not sent."
    await expect(there.get_by_role("status")).to_contain_text(unsent)
    await expect(second.get_by_role("status")).not_to_contain_text(unsent)
    measured(f"logged out everywhere, every tab was at the login page after {max(took):.0f} ms")
    assert max(took) < NOTIFIED_WITHIN_MS
    await second.go_back()  # and the back button shows nothing
    await expect(second).to_have_url(f"{processes.a.url}/login?next=/account")


async def test_a_form_sent_in_one_tab_is_not_sent_again_for_a_user_who_logs_in_in_another(
    processes: Processes, name: str, open_page: OpenPage
) -> None:
    url, sent = processes.a.url, []
    page = await open_page()
    await page.goto(f"{url}/login")
    await fill_and_log_in(page, name, "wrong")
    await expect(page.get_by_role("alert")).to_be_visible()
    page.on("request", lambda request: sent.append(request.method))
    other = await enter(await page.context.new_page(), url, name)
    await expect(page).to_have_url(f"{url}/")
    assert "POST" not in sent

    # The response to a form is left, too, if another user is logged in.
    await page.goto(f"{url}/platforms/new/token")
    for label, value in (
        ("Name (optional)", "Photos"),
        ("Server", "not a server"),
        ("Access token", "a-token"),
    ):
        await page.get_by_label(label, exact=True).fill(value)
    await page.get_by_role("button", name="Connect account").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    sent.clear()
    somebody = await asyncio.to_thread(new_user, processes.settings)
    await other.request.post(f"{url}/api/login", data={"username": somebody, "password": PASSWORD})
    await expect(page.get_by_role("alert")).to_have_count(0)
    await expect(page.get_by_label("Name (optional)")).to_have_value("")
    assert "GET" in sent
    assert "POST" not in sent


async def test_a_restored_page_shows_nothing_until_its_session_is_confirmed(
    processes: Processes, name: str, open_page: OpenPage
) -> None:
    page = await enter(await open_page(), processes.a.url, name, "/account")
    shown: Locator = page.locator("main")
    event = "(name) => window.dispatchEvent(new PageTransitionEvent(name, { persisted: true }))"
    for is_over in (False, True):
        await page.evaluate(event, "pagehide")
        await expect(shown).to_be_hidden()
        if is_over:
            log_out(processes.a, await cookie_of(page.context))
        await page.evaluate(event, "pageshow")
        if is_over:
            await left_at(page)
        else:
            await expect(shown).to_be_visible()
            await wait_for_stream(page)
    await page.go_back()
    await expect(page.get_by_label("Password", exact=True)).to_be_visible()


async def test_a_changed_password_leaves_the_tabs_of_its_browser_open(
    processes: Processes, name: str, open_page: OpenPage
) -> None:
    first = await enter(await open_page(), processes.a.url, name, "/devices")
    second = await another_tab(first, "/account")
    there = await enter(await open_page(), processes.b.url, name)
    await wait_for_stream(first, there)
    await first.evaluate("window.hasStayed = true")
    await second.get_by_label("Current password").fill(PASSWORD)
    await second.get_by_label("New password").fill("another long password")
    await second.get_by_role("button", name="Change password").click()
    await expect(second.get_by_role("status")).to_contain_text("password has been changed")
    _, query = await left_at(there)
    assert set(query) == {"next"}
    status = there.get_by_role("status")
    await expect(status).to_contain_text("your password was changed on another device")
    await there.reload()  # it is announced once
    await expect(there.get_by_role("heading", name="Log in")).to_be_visible()
    await expect(status).to_be_empty()
    await expect(first.locator("main")).to_be_visible()
    assert await first.evaluate("window.hasStayed")


async def test_one_tab_has_the_stream_and_another_takes_over(
    processes: Processes, name: str, open_page: OpenPage, measured: Measured
) -> None:
    first = await enter(await open_page(), processes.a.url, name)
    await wait_for_stream(first)
    second = await another_tab(first, "/account")
    asked: list[float] = []

    def note(request: Request) -> None:
        if request.url.endswith("/api/session_events"):
            asked.append(time.monotonic())

    second.on("request", note)
    await wait_for_stream(second)
    assert asked == []
    began = time.monotonic()
    await first.close()
    async with second.expect_response(lambda response: "session_events" in response.url):
        pass
    (at,) = asked
    measured(f"a tab took the stream over after {(at - began) * 1000:.0f} ms")
    log_out(processes.b, await cookie_of(second.context))
    await left_at(second)


async def test_the_stream_reconnects_after_a_server_restart(
    settings: Settings, tmp_path: Path, open_page: OpenPage, measured: Measured
) -> None:
    name = await asyncio.to_thread(new_user, settings)
    with hypercorn(settings, tmp_path) as server:
        port = urlsplit(server.url).port
        page = await enter(await open_page(), server.url, name, "/account")
        await wait_for_stream(page)
        stopping = time.monotonic()
    stopped = time.monotonic() - stopping
    assert port
    heard: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def note(response: Response) -> None:
        if "session_events" in response.url and response.ok:
            heard.set_result(time.monotonic())

    page.on("response", note)
    starting = time.monotonic()
    with hypercorn(settings, tmp_path, port=port) as server:
        back = await asyncio.wait_for(heard, RECONNECTED_WITHIN_SECONDS) - starting
        await expect(page.locator("main")).to_be_visible()
        log_out(server, await cookie_of(page.context))
        await left_at(page)
    measured(
        f"with a stream open the server stopped in {stopped:.1f} s; the page heard it again"
        f" {back:.1f} s after it was started again"
    )


async def test_pages_poll_in_browsers_without_web_locks(
    processes: Processes, name: str, open_page: OpenPage, measured: Measured
) -> None:
    page = await open_page()
    await page.add_init_script("delete Navigator.prototype.locks; delete window.BroadcastChannel;")
    await enter(page, processes.a.url, name, "/account")
    at = await page.evaluate(NOW_MS)
    log_out(processes.b, await cookie_of(page.context))
    left, _ = await left_at(page)
    measured(f"without Web Locks the page was at the login page after {left - at:.0f} ms")


async def test_a_form_opened_before_a_switch_is_not_sent_for_another_account(
    processes: Processes, name: str, accounts: tuple[int, int, int], open_page: OpenPage
) -> None:
    first = await enter(await open_page(), processes.a.url, name)
    form = await another_tab(first, f"/platforms/{accounts[1]}/rename")
    field = form.get_by_label("Name", exact=True)
    await field.fill("Blueberry")
    await switch(first, accounts[2])
    note = form.get_by_role("alert")
    await expect(note).to_contain_text(
        "This form was opened for Apple. Your current account is Cherry."
    )
    await field.press("Enter")
    await expect(note).to_be_focused()
    await note.get_by_role("button", name="Continue with").click()
    await expect(note).to_have_count(0)
    await expect(field).to_be_focused()
    await field.press("Enter")
    await expect(form.get_by_role("heading", name="Blueberry")).to_be_visible()

    # Without scripts the server refuses the form and keeps the input.
    plain = await enter(
        await open_page(java_script_enabled=False),
        processes.a.url,
        name,
        f"/platforms/{accounts[1]}/rename",
    )
    cookies = await plain.context.cookies()
    await plain.get_by_label("Name", exact=True).fill("Cranberry")
    tab = await another_tab(plain, "/platforms")
    await tab.get_by_role("button", name="Switch Cherry", exact=True).click()
    assert await plain.context.cookies() != cookies
    await plain.get_by_role("button", name="Rename").click()
    await expect(plain.get_by_role("alert")).to_contain_text("Nothing was done")
    await expect(plain.get_by_label("Name", exact=True)).to_have_value("Cranberry")
    await plain.get_by_role("button", name="Rename").click()
    await expect(plain.get_by_role("heading", name="Cranberry")).to_be_visible()


IDLE_SECONDS = 6


async def logged_in_with_a_wrong_clock(open_page: OpenPage, url: str, name: str) -> Page:
    page = await open_page()
    await page.context.add_init_script(
        "const real = Date.now; Date.now = () => real() + 5 * 3600 * 1000;"
    )
    return await enter(page, url, name, "/account")


def limits(**seconds: int) -> dict[str, str]:
    return {f"QUART_APP_SESSION_{name}_SECONDS": str(value) for name, value in seconds.items()}


@pytest.mark.alone
async def test_an_idle_user_is_warned_and_can_stay_logged_in(
    settings: Settings, tmp_path: Path, open_page: OpenPage, measured: Measured
) -> None:
    name = await asyncio.to_thread(new_user, settings)
    environ = limits(IDLE=IDLE_SECONDS, RENEWAL=1)
    with hypercorn(settings, tmp_path, environ=environ) as server:
        first = await logged_in_with_a_wrong_clock(open_page, server.url, name)
        second = await another_tab(first, "/platforms/new/token")
        began = time.monotonic()
        warnings = [page.get_by_role("alertdialog") for page in (first, second)]
        for warning in warnings:
            await expect(warning).to_contain_text("about to be logged out")
        warned = time.monotonic() - began
        stay = warnings[0].get_by_role("button", name="Stay logged in")
        await expect(stay).to_be_focused()
        await stay.click()
        for warning in warnings:
            await expect(warning).to_have_count(0)
        # Typing in one tab prevents the warning in the other.
        field = second.get_by_label("Name (optional)")
        for _ in range(IDLE_SECONDS):
            await field.press("a")
            await asyncio.sleep(1)
            assert [await warning.count() for warning in warnings] == [0, 0]
        began = time.monotonic()
        for page, path in ((first, "/account"), (second, "/platforms/new/token")):
            _, query = await left_at(page)
            assert query == {"next": [path]}
            unsent = " Your input was not sent." if page is second else ""
            await expect(page.get_by_role("status")).to_have_text(
                f"You were logged out because you were inactive.{unsent}"
            )
        left = time.monotonic() - began
        assert IDLE_SECONDS - 3 < left < IDLE_SECONDS + 2
        measured(
            f"of {IDLE_SECONDS} s without activity one was warned after {warned:.1f} s, and at the"
            f" login page {left:.1f} s after typing"
        )
        await fill_and_log_in(first, name)
        await expect(first).to_have_url(f"{server.url}/account")


@pytest.mark.alone
async def test_the_absolute_limit_is_announced_and_cannot_be_extended(
    settings: Settings, tmp_path: Path, open_page: OpenPage
) -> None:
    name = await asyncio.to_thread(new_user, settings)
    environ = limits(IDLE=IDLE_SECONDS, ABSOLUTE=IDLE_SECONDS, RENEWAL=1)
    with hypercorn(settings, tmp_path, environ=environ) as server:
        first = await enter(await open_page(), server.url, name, "/account")
        second = await another_tab(first, "/platforms")
        warnings = [page.get_by_role("alertdialog") for page in (first, second)]
        for warning in warnings:
            await expect(warning).to_contain_text("be extended")
        await first.keyboard.press("Escape")
        for warning in warnings:
            await expect(warning).to_have_count(0)
        for page in (first, second):
            _, query = await left_at(page)
            assert set(query) == {"next"}
            await expect(page.get_by_role("status")).to_contain_text("reached its time limit")
