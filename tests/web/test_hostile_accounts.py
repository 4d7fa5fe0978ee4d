"""Accounts whose server describes them as no well-meaning server would, through HTTP."""

import asyncio
import re
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL, text, update

from quart_app.composition import Built
from quart_app.model import PlatformAuthorization
from quart_app.settings import Settings
from tests.callers import caller_of
from tests.conftest import Clock, Member
from tests.peers.fixtures import Peers
from tests.web.connecting import (
    add,
    begin,
    come_back,
    connections_of,
    error_of,
    settings_with_peers,
    text_of,
    way_to_server,
)

pytestmark = pytest.mark.sqlite_unless_thorough


@pytest.fixture
def settings(database_url: URL, running_peers: Peers) -> Settings:
    return settings_with_peers(database_url, running_peers)


LONG = "https://localhost/" + "a" * 2000


async def connect(browser: Client, peers: Peers, name: str = "mastodon-4-2") -> str:
    """Connect ada's account; return the words of the page that showed it."""
    page = await begin(browser, peers[name].host)
    await come_back(browser, peers.authorize(await way_to_server(browser, page)))
    html = await text_of(browser, page)
    await add(browser, page)
    return re.sub(r"<[^>]+>", " ", html.partition("<main")[2])


@pytest.mark.parametrize(
    "said",
    [
        {"username": "u" * 200},
        {"url": LONG},
        {"url": "https://localhost/" + "ü" * 400},
        {"avatar": LONG},
        {"display_name": "A" * 9000},
        {"id": "9" * 128},
    ],
)
async def test_texts_of_any_length_are_kept_or_left_out(
    browser: Client, peers: Peers, said: dict[str, object]
) -> None:
    peers["mastodon-4-2"].records.user("ada").overrides.update(said)
    await connect(browser, peers)
    assert (await browser.get("/platforms")).status_code == 200


@pytest.mark.parametrize("said", [{"username": "u" * 201}, {"id": "9" * 129}])
async def test_an_identity_that_cannot_be_kept_is_refused_with_the_servers_name(
    browser: Client, peers: Peers, said: dict[str, object]
) -> None:
    peer = peers["mastodon-4-2"]
    peer.records.user("ada").overrides.update(said)
    page = await begin(browser, peer.host)
    status, words = await error_of(browser, peers.authorize(await way_to_server(browser, page)))
    assert (status, f"{peer.host} doesn" in words) == (502, True)


@pytest.mark.parametrize("name", ["\u200b\u200d", "\u3164", "\u202e \u2066"])
async def test_a_name_that_nobody_sees_gives_way_to_the_username(
    browser: Client, peers: Peers, name: str
) -> None:
    peers["mastodon-4-2"].records.user("ada").overrides["display_name"] = name
    assert " ada " in await connect(browser, peers)


@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_a_check_that_fails_unexpectedly_leaves_checks_at_other_servers_alone(
    browser: Client, built: Built, peers: Peers, clock: Clock
) -> None:
    for name in ("mastodon-4-2", "pixelfed"):
        await connect(browser, peers, name)
    first, second = await connections_of(built.services)
    async with built.database.begin() as db:
        await db.execute(
            text(
                "CREATE TRIGGER fails BEFORE UPDATE OF checked_at ON platform_accounts"
                f" WHEN NEW.platform_connection_id = {first.id}"
                " BEGIN SELECT RAISE(ABORT, 'a fault of ours'); END"
            )
        )
    # The failing one answers at once, while the other is still asked.
    peers["pixelfed"].records.delays_seconds["/api/v1/accounts/verify_credentials"] = 0.5
    clock.advance(timedelta(hours=30))
    with pytest.raises(Exception, match="fault of ours"):
        await built.services.background_checks.check_due()
    async with built.database.read() as db:
        checked = await db.scalars(
            text("SELECT platform_connection_id FROM platform_accounts WHERE checked_at > :then"),
            {"then": clock() - timedelta(hours=1)},
        )
        assert list(checked) == [second.id]


async def test_the_way_to_a_server_can_be_opened_thirty_times_in_ten_minutes(
    browser: Client, peers: Peers, clock: Clock
) -> None:
    """Each time, the server is asked whether it still knows the app."""
    page = await begin(browser, peers["mastodon-4-2"].host)
    for _ in range(30):
        await way_to_server(browser, page)
    status, words = await error_of(browser, f"{page}/continue")
    assert (status, "Try again in 10 minutes" in words) == (429, True)
    clock.advance(timedelta(minutes=10, seconds=1))
    await begin(browser, peers["mastodon-4-2"].host)


async def returned_to(browser: Client, built: Built, peers: Peers, *, at: datetime) -> str:
    """Mark an attempt as returned by a request that has no result; return the way back."""
    page = await begin(browser, peers["mastodon-4-2"].host)
    callback = peers.authorize(await way_to_server(browser, page))
    async with built.database.begin() as db:
        await db.execute(update(PlatformAuthorization).values(returned_at=at))
    return callback


async def test_nobody_waits_for_a_process_that_died_with_the_code(
    browser: Client, built: Built, peers: Peers, clock: Clock
) -> None:
    callback = await returned_to(browser, built, peers, at=clock() - timedelta(minutes=1))
    async with asyncio.timeout(15):  # waiting would take 45 seconds
        status, words = await error_of(browser, callback)
    assert (status, "Start again" in words) == (410, True)


async def test_a_browser_that_goes_away_leaves_nobody_waiting_for_the_first_request(
    browser: Client, built: Built, peers: Peers, member: Member, clock: Clock
) -> None:
    callback = await returned_to(browser, built, peers, at=clock())
    state = parse_qs(urlsplit(callback).query)["state"][0]
    results = built.services.authorization_results
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(
        results.receive(
            caller_of(member.id),
            state,
            server=peers["mastodon-4-2"].host,
            code="any",
            error=None,
        )
    )
    await asyncio.sleep(1)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert asyncio.all_tasks() == before


async def test_a_page_that_is_still_open_adds_no_other_account_than_it_shows(
    browser: Client, built: Built, peers: Peers
) -> None:
    peer = peers["mastodon-4-2"]
    page = await begin(browser, peer.host)
    await come_back(browser, peers.authorize(await way_to_server(browser, page), "ada"))
    await add(browser, page)
    other = await begin(browser, peer.host)
    await come_back(browser, peers.authorize(await way_to_server(browser, other), "grace"))
    assert (await browser.post(f"{page}/add")).status_code == 410
    assert (await browser.get(f"{page}/avatar")).status_code == 410
    assert len(await connections_of(built.services)) == 1
