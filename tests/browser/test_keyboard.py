"""A whole visit by keyboard: every control can be reached, seen and left."""

import re
from collections.abc import Callable
from itertools import groupby

import pytest
from playwright.async_api import Locator, Page, expect
from standins.serving import ServedStandIn

from tests.browser.conftest import IN_ONE_LOOP, OpenPage
from tests.browser.sample_site import Scene, enter
from tests.cases import first_unless_thorough
from tests.conftest import PASSWORD
from tests.peers.fixtures import Peers, access_token

pytestmark = [
    IN_ONE_LOOP,
    pytest.mark.sqlite_unless_thorough,
    pytest.mark.xdist_group("accessibility"),  # one worker, so one server
]

MOST_STEPS = 80  # enough to reach the end of any page
# What has the focus, and what keeps anybody from seeing that (WCAG 2.2, 2.4.7 and 2.4.11).
FOCUS = """async () => {
    // What moves out of its way does so with the next frame.
    await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
    const each = document.activeElement;
    if (!each || each === document.body) return null;
    const words = each.getAttribute("aria-label") ?? (each.innerText || each.id);
    const {outlineStyle, outlineWidth, boxShadow, opacity} = getComputedStyle(each);
    const hasRing = (outlineStyle !== "none" && parseFloat(outlineWidth) >= 2)
        || boxShadow !== "none";
    const {left, top, width, height} = each.getBoundingClientRect();
    const at = document.elementFromPoint(left + width / 2, top + height / 2);
    const isOnTop = each.contains(at) || (at?.contains(each) && !!at.closest("label"));
    const wrong = [
        ...(hasRing ? [] : ["has no ring"]),
        ...(isOnTop && opacity === "1" ? [] : ["is hidden"]),
    ];
    return [`${each.tagName} ${words.trim()}`, wrong];
}"""
# The controls that Tab should reach, in order.
CONTROLS = """() => [...document.querySelectorAll("a, button, input, select, textarea, summary")]
    .filter((each) => each.tabIndex >= 0 && !each.disabled
        && (each.checkVisibility({visibilityProperty: true})))
    .map((each) => `${each.tagName} ${(each.getAttribute("aria-label")
        ?? (each.innerText || each.id)).trim()}`)"""


async def is_focused(control: Locator) -> bool:
    found: bool = await control.evaluate("each => each === document.activeElement")
    return found


class Keyboard:
    """Press keys on a page and report the focus after each."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.steps = 0

    async def press(self, key: str) -> str | None:
        """Return the focused element; None if nothing has the focus."""
        await self.page.keyboard.press(key)
        self.steps += 1
        return await self.look()

    async def look(self) -> str | None:
        found = await self.page.evaluate(FOCUS)
        if found is None:
            return None
        what, wrong = found
        assert not wrong, f"{what} {wrong} at {self.page.url}"
        return str(what)

    async def come_to(self, control: Locator, key: str = "Tab") -> None:
        for _ in range(MOST_STEPS):
            if await is_focused(control):
                return
            await self.press(key)
        raise AssertionError(f"{control} is not reached by {key}")

    async def round(self, key: str, start: Locator) -> list[str]:
        """Return the elements that the key moves through from `start` until it returns there.

        A date counts once, although each of its numbers gets the focus in turn.
        """
        await start.focus()
        passed = [await self.look()]
        for _ in range(2 * MOST_STEPS):
            what = await self.press(key)
            if what is not None and await is_focused(start):
                return [str(each) for each, _ in groupby(filter(None, passed))]
            passed.append(what)
        raise AssertionError(f"{key} never leaves {passed[-5:]}")

    async def use(self, control: Locator) -> None:
        await self.come_to(control)
        await self.page.keyboard.press("Enter")

    async def fill(self, control: Locator, text: str) -> None:
        await self.come_to(control)
        await self.page.keyboard.press("Control+a")
        await self.page.keyboard.type(text)


async def test_a_whole_visit_works_by_keyboard_alone(
    scene: Scene, open_page: OpenPage, running_peers: Peers, measured: Callable[[str], None]
) -> None:
    page = await open_page(viewport={"width": 1000, "height": 500})
    keys = Keyboard(page)
    await page.goto(f"{scene.server.url}/platforms")
    await log_in(keys)
    await switch(keys)
    await add_a_connection(keys, running_peers["pixelfed"])
    await rename_and_remove_it(keys)
    await end_another_device(keys)
    await keys.come_to(page.get_by_role("button", name="Log out"), "Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("You are logged out.")).to_be_visible()
    measured(f"a whole visit by keyboard alone: {keys.steps} keys, the focus seen after each")


async def log_in(keys: Keyboard) -> None:
    page = keys.page
    await expect(page.get_by_label("Name or e-mail address")).to_be_focused()
    await page.keyboard.type("walker")
    await keys.fill(page.get_by_label("Password", exact=True), PASSWORD)
    await keys.come_to(page.get_by_label("Keep me logged in"))
    await keys.press("Space")
    await expect(page.get_by_label("Keep me logged in")).to_be_checked()
    await keys.use(page.get_by_role("button", name="Log in"))
    await expect(page.get_by_role("heading", name="Accounts", exact=True)).to_be_visible()


async def switch(keys: Keyboard) -> None:
    """The switcher returns the focus."""
    page, switcher = keys.page, keys.page.locator("#switcher-button")
    await keys.use(switcher)
    await expect(page.locator(".switcher-row", has_text="Notes")).to_be_focused()
    await keys.press("ArrowDown")
    await expect(page.locator(".switcher-row", has_text="Photos")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_have_text("Switched to Photos")
    await expect(switcher).to_be_focused()


async def add_a_connection(keys: Keyboard, peer: ServedStandIn) -> None:
    """Past the header, with a wrong server first."""
    page, main = keys.page, keys.page.locator("main")
    await keys.come_to(page.get_by_role("link", name="Skip to content"), "Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(main).to_be_focused()
    await keys.press("Tab")
    await expect(main.locator(":focus")).to_have_count(1)
    await keys.use(main.get_by_role("link", name="Connect an account"))
    await expect(main.get_by_label("Server", exact=True)).to_be_focused()
    await keys.use(main.get_by_role("link", name="Use an access token instead"))
    await expect(main.get_by_label("Server", exact=True)).to_be_focused()
    await keys.fill(main.get_by_label("Server", exact=True), "not an instance")
    await keys.fill(main.get_by_label("Access token", exact=True), access_token(peer))
    await keys.fill(main.get_by_label("Name (optional)"), "Harbour")
    await keys.use(main.get_by_role("button", name="Connect account"))
    await expect(page.get_by_role("alert")).to_be_focused()
    await keys.use(page.get_by_role("alert").get_by_role("link"))
    instance = main.get_by_label("Server", exact=True)
    await expect(instance).to_be_focused()
    await keys.fill(instance, peer.host)
    await page.keyboard.press("Enter")
    await expect(main.get_by_role("heading", name="Harbour")).to_be_visible()


async def rename_and_remove_it(keys: Keyboard) -> None:
    page, main = keys.page, keys.page.locator("main")
    await keys.use(main.get_by_role("button", name="More for Harbour"))
    await keys.come_to(main.get_by_role("link", name="Rename Harbour"))
    await page.keyboard.press("Escape")
    await expect(main.get_by_role("button", name="More for Harbour")).to_be_focused()
    await expect(main.get_by_role("link", name="Rename Harbour")).to_be_hidden()
    await page.keyboard.press("Enter")
    await keys.use(main.get_by_role("link", name="Rename Harbour"))
    await expect(page.get_by_role("heading", name="Rename Harbour")).to_be_visible()
    await keys.fill(main.get_by_label("Name", exact=True), "Port")
    await keys.use(main.get_by_role("button", name="Rename"))
    await keys.use(main.get_by_role("button", name="More for Port"))
    await keys.use(main.get_by_role("link", name="Remove Port"))
    await expect(page.get_by_role("heading", name="Remove Port?")).to_be_visible()
    await keys.use(main.get_by_role("button", name="Remove Port"))
    await expect(page.get_by_text("Account removed.")).to_be_visible()
    await expect(main.get_by_role("heading", name="Port")).to_have_count(0)


async def end_another_device(keys: Keyboard) -> None:
    page, main = keys.page, keys.page.locator("main")
    await keys.use(page.get_by_role("link", name="Devices"))
    await keys.use(main.get_by_role("link", name=re.compile("^End session An unknown program")))
    await keys.use(main.get_by_role("button", name="End this session"))
    await expect(page.get_by_text("The session has ended.")).to_be_visible()


@pytest.mark.parametrize(
    "path", first_unless_thorough(2, ["/platforms", "/admin/audit", "/login", "/account"])
)
async def test_tab_reaches_everything_on_a_page_in_both_directions_without_a_trap(
    scene: Scene, open_page: OpenPage, path: str
) -> None:
    page = await open_page(viewport={"width": 1000, "height": 500})
    await enter(page.context, scene, "a visitor" if path == "/login" else "root")
    await page.goto(scene.server.url + path)
    controls = await page.evaluate(CONTROLS)
    assert len(controls) > 5
    keys = Keyboard(page)
    first, last = page.locator(".skip"), page.get_by_label("Theme")
    assert await keys.round("Tab", first) == controls
    assert await keys.round("Shift+Tab", last) == controls[::-1]


async def test_a_warning_takes_the_focus_and_returns_it(scene: Scene, open_page: OpenPage) -> None:
    page = await open_page()
    await enter(page.context, scene, "member, who does nothing")
    await page.goto(f"{scene.server.url}/account")
    warning = page.get_by_role("alertdialog")
    await expect(warning.get_by_role("button", name="Stay logged in")).to_be_focused()
    keys = Keyboard(page)
    for key in ("Tab", "Shift+Tab"):
        reached = {await keys.press(key) for _ in range(6)}
        assert reached - {None} == {"BUTTON Stay logged in", "BUTTON Log out"}
    await page.context.set_extra_http_headers({})
    await page.keyboard.press("Escape")  # pressing a key counts as activity
    await expect(warning).to_have_count(0)
    await expect(page.locator("main")).to_be_visible()
