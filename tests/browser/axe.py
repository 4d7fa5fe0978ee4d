"""Check pages with axe-core and with measurements of our own that axe-core does not make."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.async_api import Page

AXE = (Path(__file__).parent / "vendor" / "axe-4.14.1.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OF_COLOURS = ["color-contrast", "link-in-text-block"]  # rules whose result depends on the theme


@dataclass(frozen=True)
class Look:
    """A width and a theme: the system's, or one that a user chose instead."""

    width: int
    system: Literal["light", "dark"]
    chosen: Literal["system", "light", "dark"] = "system"
    rules: tuple[str, ...] = ()  # all of them

    def __str__(self) -> str:
        theme = self.system if self.chosen == "system" else f"{self.chosen}, chosen"
        return f"{self.width} px, {theme}"

    async def take(self, page: Page) -> None:
        await page.set_viewport_size({"width": self.width, "height": 800})
        await page.emulate_media(color_scheme=self.system)
        await page.evaluate(
            """theme => {
                const control = document.getElementById("theme");
                control.value = theme;
                control.dispatchEvent(new Event("change", {bubbles: true}));
            }""",
            self.chosen,
        )


# The narrow page is checked with every rule; in the other theme only the colours are checked.
LOOKS = [Look(320, "light"), Look(1280, "dark", rules=tuple(OF_COLOURS))]
# With --thorough the wide page is checked with every rule, too, and so are the colours of chosen
# themes. A chosen theme has the colours of the same system theme, which a test of its own compares.
MORE_LOOKS = [
    Look(1280, "dark"),
    Look(320, "light", "dark", rules=tuple(OF_COLOURS)),
    Look(1280, "dark", "light", rules=tuple(OF_COLOURS)),
]


async def load_axe(page: Page) -> None:
    """Added through the debugger, because the page's policy blocks injected scripts."""
    await page.evaluate(AXE)


RUN = """async ([tags, rules]) => {
    const runOnly = rules.length ? {type: "rule", values: rules} : {type: "tag", values: tags};
    const found = await axe.run(document, {runOnly, resultTypes: ["violations"]});
    return found.violations.flatMap(({id, nodes}) => nodes.map(({html, any, all, none}) =>
        `${id}: ${html.slice(0, 200)} (${[...any, ...all, ...none][0]?.message ?? ""})`
    ));
}"""


async def violations(page: Page, rules: tuple[str, ...] = ()) -> list[str]:
    """Return axe-core's violations as sentences."""
    found: list[str] = await page.evaluate(RUN, [TAGS, list(rules)])
    return found


# WCAG 2.2, 1.4.10: nothing is wider than the page. WCAG 2.2, 2.5.8: targets are large enough,
# except links within a sentence.
MEASURE = """least => {
    const {scrollWidth, clientWidth} = document.documentElement;
    const wider = scrollWidth > clientWidth ? [`${scrollWidth - clientWidth} px too wide`] : [];
    const isInSentence = (each) => each.matches("a") && getComputedStyle(each).display === "inline"
        && each.parentElement.textContent.trim() !== each.textContent.trim();
    const small = [...document.querySelectorAll("a, button, input, select, summary")]
        .filter((each) => each.checkVisibility({visibilityProperty: true})
            && !each.matches(".unseen, .skip") && !isInSentence(each))
        .map((each) => [each.closest("label") ?? each, each.outerHTML])
        .map(([each, html]) => [each.getBoundingClientRect(), html])
        .filter(([{width, height}]) => Math.min(width, height) < least)
        .map(([{width, height}, html]) => `${width} by ${height} px: ${html.slice(0, 200)}`);
    return [...wider, ...small];
}"""
LEAST_PIXELS = 24
LETTER_PIXELS = 16  # the default size of a browser
# WCAG 2.2, 1.4.12: what somebody may set for all text. By the debugger, past the page's policy.
SPACE = """() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(`
        * { line-height: 1.5 !important; letter-spacing: .12em !important;
            word-spacing: .16em !important; }
        p { margin-bottom: 2em !important; }
    `);
    document.adoptedStyleSheets = [sheet];
}"""


async def measures(page: Page) -> list[str]:
    """Return the elements that are wider than the page or too small to click."""
    found: list[str] = await page.evaluate(MEASURE, LEAST_PIXELS)
    return found


async def measures_of_larger_text(page: Page) -> list[str]:
    """Return the same with text twice as large (1.4.4) and with more spacing (1.4.12)."""
    debugger = await page.context.new_cdp_session(page)

    async def set_letters(pixels: int) -> None:
        await debugger.send("Page.setFontSizes", {"fontSizes": {"standard": pixels}})

    await set_letters(2 * LETTER_PIXELS)
    larger = await measures(page)
    await set_letters(LETTER_PIXELS)
    await debugger.detach()
    await page.evaluate(SPACE)
    spaced = await measures(page)
    await page.evaluate("document.adoptedStyleSheets = []")
    return [f"text of 200 %: {each}" for each in larger] + [f"spaced: {each}" for each in spaced]
