"""Connecting accounts where the PostgreSQL database has another encoding than UTF-8."""

import pytest
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL

from quart_app.services import Services
from quart_app.settings import Settings
from tests.conftest import log_in, make_member
from tests.peers.fixtures import Peers
from tests.web.connecting import begin, connections_of, error_of, settings_with_peers, way_to_server
from tests.web.test_database_encodings import _dropped, database_url

__all__ = ["_dropped", "database_url"]


@pytest.fixture
def encoding() -> str:
    return "LATIN1"


@pytest.fixture
def settings(database_url: URL, running_peers: Peers) -> Settings:
    return settings_with_peers(database_url, running_peers)


@pytest.mark.parametrize("said", [{"username": "Ζωή"}, {"id": "Ζωή"}])
async def test_an_identity_that_the_database_cannot_encode_is_refused(
    visitor: Client, services: Services, peers: Peers, said: dict[str, object]
) -> None:
    await log_in(visitor, await make_member(services))
    peer = peers["mastodon-4-2"]
    peer.records.user("ada").overrides.update(said)
    page = await begin(visitor, peer.host)
    callback = peers.authorize(await way_to_server(visitor, page))
    status, words = await error_of(visitor, callback)
    assert (status, "encoding is not UTF-8" in words) == (422, True)
    assert await connections_of(services) == []
