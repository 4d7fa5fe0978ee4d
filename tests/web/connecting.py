"""Walk through connecting an account at a peer, as a browser does: there, back, and the click."""

import re
from urllib.parse import urlsplit

from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL, select
from standins.serving import ServedStandIn

from quart_app.model import PlatformConnection
from quart_app.services import Services
from quart_app.settings import Settings
from tests.conftest import settings_for
from tests.peers.fixtures import Peers, reaching

_CONTINUE = re.compile(r'href="(/platforms/authorizations/\d+/continue)"')


def settings_with_peers(database_url: URL, peers: Peers) -> Settings:
    """Return settings that let requests reach the peers on loopback."""
    return reaching(settings_for(database_url), peers)


async def text_of(browser: Client, path: str) -> str:
    response = await browser.get(path)
    assert response.status_code == 200, await response.get_data(as_text=True)
    return await response.get_data(as_text=True)


async def begin(browser: Client, server: str) -> str:
    """Name a server on the page; return the path of the page with the way there."""
    response = await browser.post("/platforms/new", form={"server": server})
    assert response.status_code == 303, await response.get_data(as_text=True)
    return response.headers["Location"]


async def way_to_server(browser: Client, page: str) -> str:
    """Follow the link of the page; return the server's address."""
    html = await text_of(browser, page)
    response = await browser.get(_CONTINUE.findall(html)[0])
    assert response.status_code == 303, await response.get_data(as_text=True)
    return response.headers["Location"]


async def come_back(browser: Client, callback: str) -> str:
    """Open the address that the server redirected to; return the path of the account's page."""
    url = urlsplit(callback)
    response = await browser.get(f"{url.path}?{url.query}")
    assert response.status_code == 303, await response.get_data(as_text=True)
    return response.headers["Location"]


async def add(browser: Client, page: str) -> str:
    response = await browser.post(f"{page}/add")
    assert response.status_code == 303, await response.get_data(as_text=True)
    return await text_of(browser, response.headers["Location"])


async def error_of(browser: Client, address: str) -> tuple[int, str]:
    """Return the status and the words of a page that refuses."""
    url = urlsplit(address)
    response = await browser.get(f"{url.path}?{url.query}" if url.query else url.path)
    html = await response.get_data(as_text=True)
    return response.status_code, re.sub(r"<[^>]+>", " ", html.partition("<main")[2])


async def connections_of(services: Services) -> list[PlatformConnection]:
    """Return every connection to a peer."""
    async with services.platforms.database.read() as db:
        rows = await db.scalars(
            select(PlatformConnection).where(PlatformConnection.instance_url.contains("localhost"))
        )
        return list(rows)


def tokens_issued(peer: ServedStandIn) -> int:
    """Return how many tokens the server has issued to users, rather than to the app itself."""
    return sum(token.username is not None for token in peer.records.tokens.values())
