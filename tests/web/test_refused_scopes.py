"""If a server refuses a scope, it is asked for the next one."""

from dataclasses import replace
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL

from quart_app.services import Services
from quart_app.settings import Settings
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


async def way_with_scope(browser: Client, page: str) -> tuple[str, dict[str, list[str]]]:
    """Return the server's address, and its query."""
    url = await way_to_server(browser, page)
    return url, parse_qs(urlsplit(url).query)


async def test_a_scope_that_the_authorization_page_refuses_is_followed_by_the_next(
    browser: Client, services: Services, peers: Peers
) -> None:
    peer = peers["mastodon-4-6"]
    page = await begin(browser, peer.host)
    asked = []
    while True:
        url, query = await way_with_scope(browser, page)
        asked += query["scope"]
        if asked[-1] == "read":
            break
        refusal = {"error": "invalid_scope", "state": query["state"][0]}
        refused, page = (
            page,
            await come_back(browser, f"/platforms/callback/{peer.host}?{urlencode(refusal)}"),
        )
        assert (await error_of(browser, refused))[0] == 410
        assert "asks for other permissions" in await text_of(browser, page)
    assert asked == ["profile", "read:accounts", "read"]
    await add(browser, await come_back(browser, peers.authorize(url)))
    assert len(await connections_of(services)) == 1


async def test_a_server_that_refuses_every_scope_is_a_sentence(
    browser: Client, services: Services, peers: Peers
) -> None:
    peer = peers["takahe"]  # which is asked for one scope only
    _, query = await way_with_scope(browser, await begin(browser, peer.host))
    refusal = urlencode({"error": "invalid_scope", "state": query["state"][0]})
    status, words = await error_of(browser, f"/platforms/callback/{peer.host}?{refusal}")
    assert (status, "refuses the permissions that are needed" in words) == (502, True)
    assert await connections_of(services) == []


async def test_a_scope_that_the_registration_refuses_is_followed_by_the_next(
    browser: Client, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at a fork that knows no granular scopes."""
    peer = peers["mastodon-4-2"]
    coarse = replace(peer.records.software, scopes=("read", "write"))
    monkeypatch.setattr(peer.records, "software", coarse)
    url, query = await way_with_scope(browser, await begin(browser, peer.host))
    assert query["scope"] == ["read"]
    assert peer.records.requests["POST /api/v1/apps"] == 2
    await add(browser, await come_back(browser, peers.authorize(url)))
