"""Every page by the rules of WCAG 2.2 AA that can be checked automatically, in both themes."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Page, expect

from quart_app.app import create_app
from quart_app.services.identity.setup_tokens import SetupTokens
from quart_app.settings import Settings
from tests.browser.axe import (
    LOOKS,
    MORE_LOOKS,
    Look,
    load_axe,
    measures,
    measures_of_larger_text,
    violations,
)
from tests.browser.conftest import IN_ONE_LOOP, OpenPage
from tests.browser.page_examples import COMMON, ERROR, EXAMPLES, Example, sends
from tests.browser.sample_site import Scene, enter
from tests.conftest import migrated_database, settings_for
from tests.servers import hypercorn
from tests.web.test_routes import routes

pytestmark = [
    IN_ONE_LOOP,
    pytest.mark.sqlite_unless_thorough,
    pytest.mark.xdist_group("accessibility"),  # one worker, so one server
]

# These are for programs, operators and spreadsheets, not pages.
NO_PAGES = {
    *("api_openapi.show", "operations.healthz", "operations.readyz", "audit.export"),
    *("platforms.avatar", "authorizations.avatar", "metrics.show"),
}


async def show(page: Page, scene: Scene, example: Example) -> None:
    await page.goto(scene.server.url + example.path.format_map(scene.values))
    if example.act:
        await example.act(page, scene.values)
    await expect(page.locator(example.shown).first).to_be_visible()
    await page.wait_for_load_state()


def looks_of(*, thorough: bool) -> list[Look]:
    return [*LOOKS, *(MORE_LOOKS if thorough else [])]


async def violations_on(page: Page, looks: list[Look]) -> list[str]:
    """Return the violations of the current page in these looks."""
    await load_axe(page)
    found = []
    for look in looks:
        await look.take(page)
        problems = await violations(page, look.rules)
        if look in LOOKS or not look.rules:  # a chosen theme changes no layout
            problems += await measures(page)
        if look == LOOKS[0]:
            problems += await measures_of_larger_text(page)
        found += [f"{look}: {problem}" for problem in problems]
    return found


@pytest.mark.parametrize("who", EXAMPLES)
async def test_every_page_is_accessible_in_both_themes_and_at_both_widths(
    scene: Scene,
    open_page: OpenPage,
    who: str,
    measured: Callable[[str], None],
    thorough: bool,  # noqa: FBT001 a fixture
) -> None:
    # The Fediverse server's certificate is signed by the tests' own authority.
    page = await open_page(reduced_motion="reduce", ignore_https_errors=True)
    await enter(page.context, scene, who)
    found: list[str] = []
    began = time.monotonic()
    examples = [pair for each in EXAMPLES[who].values() for pair in enumerate(each)]
    for number, example in examples:
        await show(page, scene, example)
        # The states of a page share its colours, so one of them is enough by default.
        looks = looks_of(thorough=thorough) if thorough or number == 0 else LOOKS[:1]
        found += [f"{example.name}, {problem}" for problem in await violations_on(page, looks)]
    measured(f"axe-core at {len(examples)} pages of {who}: {time.monotonic() - began:.1f} s")
    assert not found, "\n".join(found)


@pytest.fixture
def set_up_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The set-up page of a server without users; one engine is enough."""
    with migrated_database("sqlite", request, tmp_path) as url:
        settings = settings_for(url)
        token = SetupTokens([settings.secret_key]).set_up_token()
        with hypercorn(settings, tmp_path) as server:
            yield f"{server.url}/setup?token={token}"


async def test_the_set_up_page_is_accessible_too(
    set_up_url: str,
    open_page: OpenPage,
    thorough: bool,  # noqa: FBT001 a fixture
) -> None:
    page = await open_page(reduced_motion="reduce")
    await page.goto(set_up_url)
    assert await violations_on(page, looks_of(thorough=thorough)) == []
    refused = sends(
        "Create user and log in",
        username="ada",
        email="ada@example.com",
        new_password=COMMON,
    )
    await refused(page, {})
    await expect(page.locator(ERROR)).to_be_visible()
    assert await violations_on(page, looks_of(thorough=thorough)) == []


def pages(settings: Settings) -> set[str]:
    """Return the endpoints that answer with a page or a redirect to one."""
    return {
        endpoint
        for endpoint, method, path in routes(create_app(settings))
        if method == "GET" and not path.startswith(("/api/", "/static/"))
    } - NO_PAGES


async def test_the_list_of_pages_is_complete(scene: Scene) -> None:
    looked_at = {endpoint for each in EXAMPLES.values() for endpoint in each}
    assert pages(scene.settings) - looked_at == set()


# The colours of every element that a theme decides.
COLOURS = """() => [...document.querySelectorAll("body, body *")].map((each) => {
    const {color, backgroundColor, borderTopColor, fill} = getComputedStyle(each);
    return [each.nodeName, color, backgroundColor, borderTopColor, fill];
})"""


async def test_a_chosen_theme_looks_like_the_systems(scene: Scene, open_page: OpenPage) -> None:
    page = await open_page(reduced_motion="reduce")
    await enter(page.context, scene, "member")
    await page.goto(f"{scene.server.url}/platforms")
    looks = [Look(1280, "light"), Look(1280, "dark"), Look(1280, "dark", "light")]
    light, dark, chosen_light = [await colours_in(page, look) for look in looks]
    assert light != dark
    assert chosen_light == light
    assert await colours_in(page, Look(1280, "light", "dark")) == dark


async def colours_in(page: Page, look: Look) -> object:
    await look.take(page)
    return await page.evaluate(COLOURS)


# Animations that run after the element was hovered, focused and marked busy.
MOVING = """() => document.getAnimations().map((each) => [
    each.effect.target.nodeName, Number(each.effect.getComputedTiming().activeDuration),
]).filter(([, milliseconds]) => milliseconds > 10)"""
BUSY = "document.querySelector('.switcher-row').setAttribute('aria-busy', 'true')"
ICON = "getComputedStyle(document.querySelector('.switcher-row'), '::before').backgroundImage"


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
async def test_nothing_moves_for_users_who_prefer_reduced_motion(
    scene: Scene, open_page: OpenPage, motion: Literal["reduce", "no-preference"]
) -> None:
    page = await open_page(reduced_motion=motion)
    await enter(page.context, scene, "member")
    moving = []
    for path in ("/", "/account"):
        await page.goto(scene.server.url + path)
        for control in await page.locator("main :is(button, a, .field input):visible").all():
            await control.hover()
            await control.focus()
            moving += await page.evaluate(MOVING)
    await page.locator("#switcher-button").click()
    await page.evaluate(BUSY)
    moving += await page.evaluate(MOVING)
    icon = await page.evaluate(ICON)
    if motion == "reduce":
        assert moving == []
        assert icon == "none"
    else:  # with the same settings
        assert moving
        assert icon.startswith("url(")
