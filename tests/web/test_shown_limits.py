"""Limits shown on pages come from the settings and from the code that enforces them."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from quart.typing import TestClientProtocol as Client

import quart_app
from quart_app.model import PlatformType, Role
from quart_app.settings import Settings, with_setting
from tests.conftest import Clock, MakeApp, Member

pytestmark = pytest.mark.sqlite_unless_thorough

TEMPLATES = Path(quart_app.__file__).parent / "web" / "templates"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# A number with a unit in a sentence, or a maximum length in a form field.
FIXED = re.compile(
    r"\b(?:\d+|one|two|ten|fifteen|thirty)[ -](?:second|minute|hour|day|week|month|character)s?\b"
    r"|(?:min|max)length\"?[:=] ?\"?\d",
    re.IGNORECASE,
)


async def html_of(client: Client, path: str) -> str:
    return str(await (await client.get(path)).get_data(as_text=True))


@pytest.mark.parametrize(
    ("absolute", "idle", "words"),
    [
        (30 * DAY, 30 * DAY, "Keep me logged in for 30 days"),
        (7 * DAY, 7 * DAY, "Keep me logged in for 7 days"),
        (DAY, DAY, "Keep me logged in for 1 day"),
        (12 * HOUR, 12 * HOUR, "Keep me logged in for 12 hours"),
        (36 * HOUR, 36 * HOUR, "Keep me logged in for 1 day and 12 hours"),
        (
            30 * DAY,
            7 * DAY,
            "Keep me logged in for 30 days, or until I am inactive for 7 days",
        ),
    ],
)
async def test_the_login_page_shows_how_long_a_remembered_session_lasts(
    settings: Settings, make_app: MakeApp, absolute: timedelta, idle: timedelta, words: str
) -> None:
    app = await make_app(
        with_setting(settings, session_remember_absolute=absolute, session_remember_idle=idle)
    )
    html = await html_of(app.test_client(), "/login")
    (label,) = re.findall(r'name="remember"[^>]*>\s*(.*?)\s*</label>', html)
    assert label == words


async def test_the_password_prompt_shows_the_configured_limit(
    browser: Client, clock: Clock
) -> None:
    clock.advance(timedelta(minutes=16))
    assert "You logged in more than 15 minutes ago" in await html_of(browser, "/devices/others/end")


@pytest.mark.parametrize("path", ["/account"])
async def test_a_field_accepts_the_same_length_as_the_server(
    browser: Client, path: str, member: Member
) -> None:
    html = await html_of(browser, path)
    assert 'minlength="8" maxlength="1024"' in html
    assert "At least 8 characters" in html
    for new, status in (("x" * 7, 422), ("x" * 1025, 422), ("abcdefgh" * 128, 303)):
        form = {"current_password": member.password, "new_password": new}
        assert (await browser.post("/account/password", form=form)).status_code == status


def test_no_template_defines_a_limit_of_its_own() -> None:
    found = {
        f"{template.name}: {match[0]}"
        for template in TEMPLATES.glob("*.html")
        for match in FIXED.finditer(re.sub(r"{#.*?#}", "", template.read_text(), flags=re.DOTALL))
    }
    assert found == set()


def test_no_template_repeats_a_value_of_an_enumeration() -> None:
    values = "|".join(each.value for each in [*Role, *PlatformType])
    found = {
        f"{template.name}: {match[0]}"
        for template in TEMPLATES.glob("*.html")
        for match in re.finditer(rf"""(["'])(?:{values})\1""", template.read_text())
    }
    assert found == set()
