"""Connecting an account by authorization, through HTTP, with real servers on loopback."""

import asyncio
import re
import ssl
from datetime import timedelta
from unittest.mock import AsyncMock
from urllib.parse import parse_qs, urlsplit

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL

from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.types import Software
from quart_app.services import Services
from quart_app.settings import Settings
from tests.conftest import Clock, Member, log_in, make_member
from tests.peers.browser import authorize
from tests.peers.fixtures import Peers
from tests.peers.snac import Snac
from tests.web.connecting import (
    add,
    begin,
    come_back,
    connections_of,
    error_of,
    settings_with_peers,
    text_of,
    tokens_issued,
    way_to_server,
)

# The statements have tests of their own on both engines.
pytestmark = pytest.mark.sqlite_unless_thorough

STAND_INS = [
    *("mastodon-4-2", "mastodon-4-6", "pixelfed", "gotosocial", "akkoma", "takahe", "hollo"),
    "friendica",
]


@pytest.fixture
def settings(database_url: URL, running_peers: Peers) -> Settings:
    return settings_with_peers(database_url, running_peers)


@pytest.mark.parametrize("name", STAND_INS)
async def test_an_account_is_connected(browser: Client, peers: Peers, name: str) -> None:
    peer = peers[name]
    page = await begin(browser, f"@ada@{peer.host}")
    url = await way_to_server(browser, page)
    query = parse_qs(urlsplit(url).query)
    assert query["code_challenge_method"] == ["S256"]
    account_page = await come_back(browser, peers.authorize(url))
    assert f"@ada@{peer.host}" in await text_of(browser, account_page)
    html = await add(browser, account_page)
    assert f"@ada@{peer.host}" in html


@pytest.mark.parametrize("name", ["mastodon-4-2", "hollo"])  # hollo loses the state
async def test_a_user_who_denies_is_told_so_and_nothing_is_added(
    browser: Client, services: Services, peers: Peers, name: str
) -> None:
    page = await begin(browser, peers[name].host)
    callback = peers.authorize(await way_to_server(browser, page), allow=False)
    status, words = await error_of(browser, callback)
    assert (status, f"You did not allow access on {peers[name].host}" in words) == (409, True)
    assert "Start again" in words  # the link to the form
    assert await connections_of(services) == []
    status, _ = await error_of(browser, page)  # the Back button
    assert status == 410


async def test_the_back_button_shows_the_account_and_adds_it_once(
    browser: Client, services: Services, peers: Peers
) -> None:
    peer = peers["mastodon-4-6"]
    page = await begin(browser, peer.host)
    callback = peers.authorize(await way_to_server(browser, page))
    assert await come_back(browser, callback) == page
    assert await come_back(browser, callback) == page  # again, from the history
    assert tokens_issued(peer) == 1
    await add(browser, page)
    response = await browser.post(f"{page}/add")  # the button pressed twice
    assert response.status_code == 410
    assert len(await connections_of(services)) == 1
    status, words = await error_of(browser, callback)
    assert (status, "Start again" in words) == (410, True)


async def test_the_same_account_again_renews_the_connection_and_keeps_its_id(
    browser: Client, services: Services, peers: Peers
) -> None:
    ids, tokens, questions = set(), set(), []
    for server in (peers["mastodon-4-2"].host, f"https://{peers['mastodon-4-2'].host}/@ADA"):
        page = await begin(browser, server)
        account_page = await come_back(browser, peers.authorize(await way_to_server(browser, page)))
        questions += re.findall(r"<h1>(\w+ this account)", await text_of(browser, account_page))
        await add(browser, account_page)
        (connection,) = await connections_of(services)
        ids.add(connection.id)
        tokens.add(connection.access_token)
    assert (len(ids), len(tokens)) == (1, 2)
    assert questions == ["Connect this account", "Reconnect this account"]


async def test_two_accounts_at_one_server_are_two_connections(
    browser: Client, services: Services, peers: Peers
) -> None:
    for user in ("ada", "grace"):
        page = await begin(browser, peers["pixelfed"].host)
        url = await way_to_server(browser, page)
        await add(browser, await come_back(browser, peers.authorize(url, user)))
    names = {each.username for each in await connections_of(services)}
    assert names == {"ada", "grace"}


async def test_two_tabs_connect_two_accounts_whatever_the_order(
    browser: Client, services: Services, peers: Peers
) -> None:
    pages = [await begin(browser, peers[name].host) for name in ("mastodon-4-2", "gotosocial")]
    urls = [await way_to_server(browser, page) for page in pages]
    callbacks = [peers.authorize(url) for url in urls]
    for page, callback in reversed(list(zip(pages, callbacks, strict=True))):
        assert await come_back(browser, callback) == page
        await add(browser, page)
    assert len(await connections_of(services)) == 2


async def test_an_answer_is_of_no_use_in_another_browser_or_to_another_user(
    app: Quart, browser: Client, member: Member, services: Services, peers: Peers
) -> None:
    page = await begin(browser, peers["mastodon-4-2"].host)
    callback = peers.authorize(await way_to_server(browser, page))
    same_user, other_user = app.test_client(), app.test_client()
    await log_in(same_user, member)
    await log_in(other_user, await make_member(services, "eve"))
    for other in (same_user, other_user):
        assert (await error_of(other, callback))[0] == 410
        assert (await error_of(other, page))[0] == 410
        assert (await other.post(f"{page}/add")).status_code == 410
    assert tokens_issued(peers["mastodon-4-2"]) == 0
    assert await come_back(browser, callback) == page


async def test_an_attempt_expires_after_ten_minutes(
    browser: Client, peers: Peers, clock: Clock
) -> None:
    page = await begin(browser, peers["mastodon-4-2"].host)
    callback = peers.authorize(await way_to_server(browser, page))
    clock.advance(timedelta(minutes=10, seconds=1))
    for address in (page, callback):
        status, words = await error_of(browser, address)
        assert (status, "Start again" in words) == (410, True)


async def test_a_user_who_must_log_in_on_the_way_back_starts_again(
    app: Quart, peers: Peers, browser: Client
) -> None:
    page = await begin(browser, peers["mastodon-4-2"].host)
    callback = urlsplit(peers.authorize(await way_to_server(browser, page)))
    response = await app.test_client().get(f"{callback.path}?{callback.query}")
    assert response.headers["Location"] == "/login?next=/platforms/new"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/oauth/token", (200, "<h1>Welcome</h1>")),
        ("/oauth/token", (500, "<h1>Oops</h1>")),
        ("/oauth/token", (400, '{"error": "invalid_grant"}')),
        ("/oauth/token", (200, '{"access_token": ""}')),
        ("/oauth/token", (200, "[]")),
        ("/api/v1/accounts/verify_credentials", (200, "<h1>Welcome</h1>")),
        ("/api/v1/accounts/verify_credentials", (401, "{}")),
        ("/api/v1/accounts/verify_credentials", (200, "{}")),
    ],
)
async def test_a_server_that_answers_wrongly_is_named_and_nothing_is_added(
    browser: Client, services: Services, peers: Peers, path: str, answer: tuple[int, str]
) -> None:
    peer = peers["mastodon-4-2"]
    page = await begin(browser, peer.host)
    callback = peers.authorize(await way_to_server(browser, page))
    peer.records.answer(path, *answer)
    status, words = await error_of(browser, callback)
    assert status in {410, 422, 502}
    assert peer.host in words
    assert "Start again" in words
    assert await connections_of(services) == []


@pytest.mark.parametrize("value", [..., 0, "0", None, -5, 10**20, "soon"])
async def test_an_account_is_added_whatever_the_server_says_of_its_tokens_life(
    browser: Client, peers: Peers, value: object
) -> None:
    peer = peers["mastodon-4-2"]
    peer.records.token_overrides = {"expires_in": value, "scope": value}
    page = await begin(browser, peer.host)
    account_page = await come_back(browser, peers.authorize(await way_to_server(browser, page)))
    assert f"@ada@{peer.host}" in await add(browser, account_page)


async def test_an_app_that_the_server_deletes_before_the_click_is_registered_again(
    browser: Client, peers: Peers
) -> None:
    peer = peers["mastodon-4-2"]
    await begin(browser, peer.host)
    page = await begin(browser, peer.host)
    assert peer.records.requests["POST /api/v1/apps"] == 1
    peer.records.apps.clear()
    account_page = await come_back(browser, peers.authorize(await way_to_server(browser, page)))
    assert f"@ada@{peer.host}" in await add(browser, account_page)
    assert peer.records.requests["POST /api/v1/apps"] == 2


async def test_many_attempts_at_one_server_register_once(
    app: Quart, services: Services, peers: Peers, *, thorough: bool
) -> None:
    """A thousand with --thorough, from users at the same time."""
    peer = peers["mastodon-4-6"]
    users = 40 if thorough else 4
    browsers = []
    for number in range(users):
        browser = app.test_client()
        await log_in(browser, await make_member(services, f"user{number}"))
        browsers.append(browser)
    for _ in range(25 if users > 4 else 3):
        await asyncio.gather(*(begin(browser, peer.host) for browser in browsers))
    assert peer.records.requests["POST /api/v1/apps"] == 1


async def test_a_server_is_asked_for_five_apps_in_ten_minutes_and_no_more(
    browser: Client, snac: Snac, clock: Clock
) -> None:
    for _ in range(5):
        await begin(browser, snac.host)
    response = await browser.post("/platforms/new", form={"server": snac.host})
    html = await response.get_data(as_text=True)
    assert (response.status_code, "Try again in 10 minutes." in html) == (429, True)
    assert 0 < int(response.headers["Retry-After"]) <= 600
    assert f'value="{snac.host}"' in html
    clock.advance(timedelta(minutes=10, seconds=1))
    await begin(browser, snac.host)


@pytest.mark.parametrize(
    "server",
    [
        *("{0}", "@me@{0}", "me@{0}", "https://{0}/@me", "HTTPS://{0}/", " {0}/ ", "acct:me@{0}"),
        *("https://{0}/web/@me?x=1#y", "{0}/about"),
    ],
)
async def test_a_server_may_be_written_in_any_usual_way(
    browser: Client, peers: Peers, server: str
) -> None:
    host = peers["mastodon-4-2"].host
    page = await begin(browser, server.format(host.upper()))
    html = await text_of(browser, page)
    assert f"Continue to <bdi>{host}</bdi>" in html
    assert "Mastodon" in html


@pytest.mark.parametrize(
    "server",
    [
        *("", " ", "@", "a b", "https://", "ftp://x.example", "xn--a.example", "a..b", "🦣"),
        *("me@localhost, x@localhost", "https://localhost\\@localhost:1/"),  # two servers
    ],
)
async def test_text_that_names_no_server_is_refused_with_an_example(
    browser: Client, server: str
) -> None:
    response = await browser.post("/platforms/new", form={"server": server})
    html = await response.get_data(as_text=True)
    assert response.status_code == 422
    assert "mastodon.social" in html.partition("<main")[2]


async def connect_at_snac(browser: Client, snac: Snac, tls: ssl.SSLContext, user: str) -> str:
    """Walk to snac's page and back; return the callback's address."""
    url = await way_to_server(browser, await begin(browser, snac.host))
    return await asyncio.to_thread(authorize, url, user, verify=tls, password=snac.passwords[user])


async def test_two_users_who_authorize_in_the_same_second_get_their_own_accounts(
    app: Quart, services: Services, snac: Snac, peers: Peers, clock: Clock, *, thorough: bool
) -> None:
    """At snac, which exchanges any code for a token of the last user who authorized the app."""
    browsers = {}
    for name in ("alice", "bob"):
        browsers[name] = app.test_client()
        await log_in(browsers[name], await make_member(services, name))
    for _ in range(50 if thorough else 5):
        callbacks = {
            name: await connect_at_snac(browsers[name], snac, peers.tls, name) for name in browsers
        }
        for name, callback in callbacks.items():
            page = await come_back(browsers[name], callback)
            assert f"@{name}@{snac.host}" in await text_of(browsers[name], page)
        clock.advance(timedelta(minutes=6))  # two apps an attempt, five in ten minutes


async def test_a_shared_app_would_mix_them_up(
    app: Quart, services: Services, snac: Snac, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows that the test above can fail: with one app, each gets the account of the last."""
    monkeypatch.setattr(Software, "binds_codes", True)
    monkeypatch.setattr(Fediverse, "knows_app", AsyncMock(return_value=True))
    browsers, callbacks = {}, {}
    for name in ("alice", "bob"):
        browsers[name] = app.test_client()
        await log_in(browsers[name], await make_member(services, name))
        callbacks[name] = await connect_at_snac(browsers[name], snac, peers.tls, name)
    page = await come_back(browsers["alice"], callbacks["alice"])
    assert f"@bob@{snac.host}" in await text_of(browsers["alice"], page)


async def test_a_reconnection_to_a_server_that_is_down_comes_back_with_a_sentence(
    browser: Client, services: Services, peers: Peers, clock: Clock
) -> None:
    peer = peers["mastodon-4-2"]
    page = await come_back(
        browser, peers.authorize(await way_to_server(browser, await begin(browser, peer.host)))
    )
    await add(browser, page)
    (connection,) = await connections_of(services)
    peer.stop()
    clock.advance(timedelta(minutes=11))  # what the process remembers of the server is too old
    response = await browser.post(f"/platforms/{connection.id}/reconnect")
    assert (response.status_code, response.headers["Location"]) == (303, "/platforms")
    assert f"{peer.host} can&#39;t be reached" in await text_of(browser, "/platforms")
