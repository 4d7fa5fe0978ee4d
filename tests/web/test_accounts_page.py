"""The page of accounts, and the dashboard: states in words, checks, pictures, and one button."""

import re
from datetime import timedelta
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL, update

from quart_app.composition import Built
from quart_app.model import PlatformAccount
from quart_app.services import Services
from quart_app.services.platforms.steps.outbound_limit import MOST_REQUESTS
from quart_app.settings import Settings
from tests.conftest import Clock, Member, log_in, make_member
from tests.peers.fixtures import Peers, access_token
from tests.web.connecting import settings_with_peers

pytestmark = pytest.mark.sqlite_unless_thorough

VERIFY = "/api/v1/accounts/verify_credentials"
BUTTON = re.compile(r"<(?:button|a)[^>]*class=\"button[^>]*>\s*([^<]+)")


@pytest.fixture
def settings(database_url: URL, running_peers: Peers) -> Settings:
    return settings_with_peers(database_url, running_peers)


@pytest.fixture
async def garden(browser: Client, peers: Peers) -> int:
    """The id of an account at a stand-in."""
    peer = peers["mastodon-4-2"]
    body = {"instance_url": peer.host, "access_token": access_token(peer), "name": "Garden"}
    response = await browser.post("/api/platforms", json={**body, "platform_type": "mastodon"})
    added: dict[str, Any] = await response.get_json()
    assert response.status_code == 201, added
    return int(added["id"])


async def html_of(client: Client, path: str) -> str:
    response = await client.get(path)
    assert response.status_code == 200
    html: str = await response.get_data(as_text=True)
    return html.partition("<main")[2]


async def row_of(client: Client, name: str) -> str:
    """Return the markup of the account's row on the page."""
    rows = re.findall(
        r'<li class="card connection.*?</li>', await html_of(client, "/platforms"), re.DOTALL
    )
    (row,) = [row for row in rows if f"<h3><bdi>{name}</bdi>" in row]
    return str(row)


def actions_of(row: str) -> tuple[list[str], list[str]]:
    """Return the buttons beside the row, and those in its menu."""
    beside, _, menu = row.partition('class="menu"')
    return BUTTON.findall(beside), BUTTON.findall(menu)


async def check(client: Client, platform_connection_id: int) -> str:
    """Check an account with its button; return the page's message."""
    response = await client.post(
        f"/platforms/{platform_connection_id}/check", form={"next": "/platforms"}
    )
    assert (response.status_code, response.headers["Location"]) == (303, "/platforms")
    html = await html_of(client, "/platforms")
    (message,) = re.findall(r'<p class="message message-(?:done|error)">.*?</p>', html)
    return str(message)


async def change(built: Built, platform_connection_id: int, **values: object) -> None:
    async with built.database.begin() as db:
        await db.execute(
            update(PlatformAccount)
            .where(PlatformAccount.platform_connection_id == platform_connection_id)
            .values(**values)
        )


async def test_each_row_has_one_action_and_a_menu_with_the_rest(
    browser: Client, member: Member
) -> None:
    _, second, third = member.platform_ids
    await browser.post(f"/platforms/{third}/deactivate")
    found = {name: actions_of(await row_of(browser, name)) for name in ("Platform 1", "Platform 2")}
    rest = ["Check", "Reconnect", "Rename", "Switch off", "Remove"]
    assert found == {
        "Platform 1": (["More"], rest),
        "Platform 2": (["Switch", "More"], ["Make default", *rest]),
    }
    off = ["Check", "Reconnect", "Rename", "Remove"]
    assert actions_of(await row_of(browser, "Platform 3")) == (["Switch on", "More"], off)
    row = await row_of(browser, "Platform 2")
    assert f'popovertarget="menu-{second}"' in row
    assert f'<div popover class="menu" id="menu-{second}"' in row


async def test_a_user_without_accounts_has_one_button(browser: Client, member: Member) -> None:
    for platform_id in member.platform_ids:
        await browser.post(f"/platforms/{platform_id}/remove")
    for path in ("/platforms", "/"):
        assert BUTTON.findall(await html_of(browser, path)) == ["Connect an account"]


async def test_a_check_says_that_the_account_works(
    browser: Client, garden: int, peers: Peers
) -> None:
    message = await check(browser, garden)
    assert "message-done" in message
    assert f"Account checked: {peers['mastodon-4-2'].host} accepts the access." in message
    assert "Checked <time" in await row_of(browser, "Garden")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((500, "<h1>Oops</h1>"), "the server can&#39;t be reached. Try again later."),
        (
            (200, "<h1>Hello</h1>"),
            "the server doesn&#39;t answer like a Mastodon or Pixelfed server",
        ),
        (
            (404, "<h1>Gone</h1>"),
            "the server doesn&#39;t answer like a Mastodon or Pixelfed server",
        ),
        ((429, ""), "the server gets too many requests from here. Try again later."),
    ],
)
async def test_a_check_says_what_is_wrong_and_the_account_stays_usable(
    browser: Client, garden: int, peers: Peers, answer: tuple[int, str], words: str
) -> None:
    peers["mastodon-4-2"].records.answer(VERIFY, *answer)
    message = await check(browser, garden)
    assert ("message-error" in message, words in message) == (True, True)
    row = await row_of(browser, "Garden")
    assert words.partition(".")[0] in row
    assert "reconnect needed" not in row
    assert actions_of(row)[0] == ["Switch", "More"]


async def test_a_check_names_a_server_that_moved(
    browser: Client, garden: int, peers: Peers
) -> None:
    moved = {"Location": f"https://elsewhere.example{VERIFY}"}
    peers["mastodon-4-2"].records.answer(VERIFY, 301, headers=moved)
    assert "the server has moved to another address" in await check(browser, garden)


async def test_a_check_names_the_account_that_replaces_this_one(
    browser: Client, garden: int, peers: Peers
) -> None:
    for user in peers["mastodon-4-2"].records.users.values():
        user.moved_to = "ada@New.Example"
    message = await check(browser, garden)
    assert "The account has moved to @ada@new.example. Connect that one." in message
    assert "reconnect needed" not in await row_of(browser, "Garden")
    tested = await (await browser.post(f"/api/platforms/{garden}/test")).get_json()
    assert (tested["ok"], tested["moved_to"]) == (True, "@ada@new.example")


async def test_a_refused_token_is_to_be_reconnected(
    browser: Client, garden: int, peers: Peers
) -> None:
    for token in peers["mastodon-4-2"].records.tokens.values():
        token.is_revoked = True
    words = "the server no longer accepts the access"
    assert f"{words}. Reconnect the account." in await check(browser, garden)
    row = await row_of(browser, "Garden")
    assert ("reconnect needed" in row, words in row) == (True, True)
    beside, menu = actions_of(row)
    assert beside == ["Reconnect", "More"]
    assert "Switch" in menu
    assert "Reconnect" not in menu
    response = await browser.post(f"/platforms/{garden}/reconnect")
    assert response.headers["Location"].startswith("/platforms/authorizations/")


async def test_checks_are_limited(browser: Client, member: Member) -> None:
    for _ in range(MOST_REQUESTS):
        assert (await browser.post("/platforms/999/check")).status_code == 404
    response = await browser.post(f"/platforms/{member.platform_ids[0]}/check")
    html = await response.get_data(as_text=True)
    assert response.status_code == 429
    assert "You have checked or connected too many accounts. Try again in 10 minutes." in html
    assert int(response.headers["Retry-After"]) > 0


async def test_access_that_ends_soon_is_announced(
    browser: Client, garden: int, built: Built, clock: Clock
) -> None:
    now = clock()
    for days, words in (
        (15, ""),
        (13.5, "access expires in 13 days"),
        (-2.5, "access expired 2 days ago"),
    ):
        await change(built, garden, token_expires_at=now + timedelta(days=days))
        row = await row_of(browser, "Garden")
        assert re.findall(r"access expire[^<]*", row) == ([words] if words else [])
    await change(built, garden, refresh_token="sealed")  # renewed without the user
    assert "access expire" not in await row_of(browser, "Garden")


async def test_the_dashboard_shows_the_profile_of_the_current_account(
    browser: Client, garden: int, peers: Peers
) -> None:
    await browser.post(f"/platforms/{garden}/switch")
    html = await html_of(browser, "/")
    host = peers["mastodon-4-2"].host
    for words in (
        "Ada Lovelace",
        f"<bdi>@ada</bdi>@<bdi>{host}</bdi>",
        "Mastodon",
        "Checked <time",
    ):
        assert words in html
    (link,) = re.findall(r'<a[^>]*href="(https://[^"]*)" rel="noopener noreferrer">', html)
    assert link.startswith(f"https://{host}/")
    assert f"/platforms/{garden}/avatar?v=" in html


async def test_a_picture_is_the_users_alone_and_can_run_nothing(
    app: Quart, browser: Client, services: Services, garden: int
) -> None:
    (path,) = set(
        re.findall(rf'src="(/platforms/{garden}/avatar\?v=\w+)"', await row_of(browser, "Garden"))
    )
    picture = await browser.get(path)
    assert (picture.status_code, picture.content_type) == (200, "image/png")
    assert picture.headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert picture.headers["X-Content-Type-Options"] == "nosniff"
    assert picture.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert picture.headers["Cache-Control"].startswith("private, ")
    page = await browser.get("/platforms")
    assert "img-src 'self' data:;" in page.headers["Content-Security-Policy"]
    other, visitor = app.test_client(), app.test_client()
    await log_in(other, await make_member(services, "eve"))
    assert (await other.get(path)).status_code == 404
    assert (await visitor.get(path)).status_code == 303
    assert (await other.post(f"/platforms/{garden}/check")).status_code == 404
