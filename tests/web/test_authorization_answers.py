"""The way back from a server: answers that are incomplete, hostile, early or never come."""

import asyncio
from datetime import timedelta
from statistics import median
from typing import Any, cast
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL, func, select, update

from quart_app.model import PlatformAuthorization
from quart_app.services import Services
from quart_app.services.platforms.platform_fields import checked_server
from quart_app.settings import Settings
from tests.conftest import Clock, Member, log_in, make_member
from tests.peers.fixtures import Peers
from tests.web.connecting import (
    add,
    begin,
    come_back,
    connections_of,
    error_of,
    settings_with_peers,
    tokens_issued,
    way_to_server,
)

pytestmark = pytest.mark.sqlite_unless_thorough

SERVER = "mastodon-4-6"
LIE = "Your password has expired. Enter it at evil.example <script>alert(1)</script>"


@pytest.fixture
def settings(database_url: URL, running_peers: Peers) -> Settings:
    return settings_with_peers(database_url, running_peers)


async def attempt(browser: Client, peers: Peers) -> tuple[str, str, str]:
    """Begin; return the page of the attempt, the address of the server's page, and the state."""
    page = await begin(browser, peers[SERVER].host)
    url = await way_to_server(browser, page)
    return page, url, parse_qs(urlsplit(url).query)["state"][0]


async def attempts_kept(services: Services) -> int:
    async with services.platforms.database.read() as db:
        return await db.scalar(select(func.count()).select_from(PlatformAuthorization)) or 0


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({}, "{host} did not authorize access"),  # neither a code nor an error
        ({"code": ""}, "{host} did not authorize access"),
        ({"error": "access_denied"}, "You did not allow access on {host}"),  # no description
        ({"error": "server_error", "error_description": LIE}, "{host} did not authorize access"),
        ({"error": LIE, "error_uri": "https://evil.example"}, "{host} did not authorize access"),
        ({"error": "access_denied", "code": "made-up"}, "You did not allow access on {host}"),
    ],
)
async def test_a_refusal_is_a_sentence_of_ours_with_nothing_of_the_servers_words(
    browser: Client, services: Services, peers: Peers, answer: dict[str, str], sentence: str
) -> None:
    page, _, state = await attempt(browser, peers)
    query = urlencode(answer | {"state": state})
    callback = f"/platforms/callback/{peers[SERVER].host}?{query}"
    status, words = await error_of(browser, callback)
    assert status == 409
    assert sentence.format(host=peers[SERVER].host) in words
    assert "evil.example" not in words
    assert (await error_of(browser, page))[0] == 410
    assert (tokens_issued(peers[SERVER]), await connections_of(services)) == (0, [])


async def test_a_denial_without_a_state_is_of_no_attempt_while_two_are_under_way(
    browser: Client, peers: Peers
) -> None:
    attempts = [await attempt(browser, peers) for _ in range(2)]
    status, words = await error_of(
        browser, f"/platforms/callback/{peers[SERVER].host}?error=access_denied"
    )
    assert (status, "Start again" in words) == (410, True)
    for page, url, _ in attempts:  # neither has ended
        assert await come_back(browser, peers.authorize(url)) == page


@pytest.mark.parametrize(
    "query", ["", "code=x", "state=", "state=x&code=x", "code=x&state=%00", "state=%ff&error=x"]
)
async def test_an_answer_without_a_state_of_this_browser_ends_nothing(
    browser: Client, peers: Peers, query: str
) -> None:
    page, url, _ = await attempt(browser, peers)
    callback = f"/platforms/callback/{peers[SERVER].host}?{query}"
    assert (await error_of(browser, callback))[0] == 410
    assert await come_back(browser, peers.authorize(url)) == page


async def test_a_server_that_sends_its_users_on_to_another_gets_no_code_of_that_one(
    browser: Client, peers: Peers
) -> None:
    """The mix-up attack (RFC 9700 section 4.4)."""
    evil, honest = peers["gotosocial"], peers[SERVER]
    there = {}
    for peer in (evil, honest):
        url = urlsplit(await way_to_server(browser, await begin(browser, peer.host)))
        there[peer.host] = dict(parse_qsl(url.query))
    # The honest server's address, known by an attempt of evil's own, with the user's state.
    sent_on = there[honest.host] | {"state": there[evil.host]["state"]}
    callback = peers.authorize(f"{honest.url}/oauth/authorize?{urlencode(sent_on)}")
    asked = evil.records.requests["POST /oauth/token"]
    assert (await error_of(browser, callback))[0] == 410
    assert evil.records.requests["POST /oauth/token"] == asked


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("HEAD", {}, 204),
        ("GET", {"Sec-Purpose": "prefetch"}, 204),
        ("GET", {"Sec-Purpose": "prefetch;prerender"}, 204),
        ("POST", {}, 405),
    ],
)
async def test_a_request_that_shows_no_page_neither_uses_the_code_nor_asks_the_server(
    browser: Client, peers: Peers, method: str, headers: dict[str, str], status: int
) -> None:
    page, url, _ = await attempt(browser, peers)
    callback, client = urlsplit(peers.authorize(url)), cast(Any, browser)
    asked = peers[SERVER].records.requests.total()
    for path in (f"{callback.path}?{callback.query}", f"{page}/continue"):
        response = await client.open(path, method=method, headers=headers)
        assert response.status_code == status
    assert peers[SERVER].records.requests.total() == asked
    assert await come_back(browser, f"{callback.path}?{callback.query}") == page


async def test_another_user_of_the_browser_gets_nothing_and_the_first_finds_it_again(
    app: Quart, services: Services, member: Member, peers: Peers
) -> None:
    browser, eve = app.test_client(), await make_member(services, "eve")
    await log_in(browser, member)
    page, url, _ = await attempt(browser, peers)
    callback = peers.authorize(url)
    await log_in(browser, eve)
    assert (await error_of(browser, callback))[0] == 410
    assert tokens_issued(peers[SERVER]) == 0
    await log_in(browser, member)
    assert await come_back(browser, callback) == page
    await log_in(browser, eve)  # while the page with the button is open
    response = await browser.post(f"{page}/add", form={"user_id": str(member.id)})
    assert response.status_code == 409
    assert await connections_of(services) == []
    await log_in(browser, member)
    assert f"@ada@{peers[SERVER].host}" in await add(browser, page)


async def test_an_attempt_that_never_comes_back_is_deleted_with_its_secrets(
    browser: Client, services: Services, peers: Peers, clock: Clock
) -> None:
    closed, _, _ = await attempt(browser, peers)
    page, url, _ = await attempt(browser, peers)
    await come_back(browser, peers.authorize(url))  # and the button is never pressed
    await services.attempt_purges.purge()
    assert await attempts_kept(services) == 2
    async with services.platforms.database.begin() as db:
        await db.execute(
            update(PlatformAuthorization).values(expires_at=clock() - timedelta(days=1))
        )
    await services.attempt_purges.purge()
    assert await attempts_kept(services) == 0
    for path in (closed, page):
        assert (await error_of(browser, path))[0] == 410


async def test_the_way_to_the_server_costs_at_most_two_round_trips(
    browser: Client, peers: Peers
) -> None:
    """From the form to the server's page, when the server is known."""
    peer = peers[SERVER]
    await attempt(browser, peers)
    costs = []
    for _ in range(9):
        before = peer.records.requests.total()
        await attempt(browser, peers)
        costs.append(peer.records.requests.total() - before)
    assert median(costs) <= 2


async def test_answers_at_the_same_time_exchange_the_code_once(
    browser: Client, services: Services, peers: Peers
) -> None:
    page, url, _ = await attempt(browser, peers)
    callback = peers.authorize(url)
    pages = await asyncio.gather(*(come_back(browser, callback) for _ in range(3)))
    assert (set(pages), tokens_issued(peers[SERVER])) == ({page}, 1)
    await asyncio.gather(*(browser.post(f"{page}/add") for _ in range(3)))
    assert len(await connections_of(services)) == 1


def test_two_hosts_that_idna_2003_confuses_are_two_servers() -> None:
    assert checked_server("@me@stra\u00dfe.example") == "xn--strae-oqa.example"
    assert checked_server("https://STRASSE.example/@me") == "strasse.example"
