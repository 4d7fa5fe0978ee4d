"""Hostile servers get nothing from our outbound client, and each ends in an error in time."""

import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from standins.certificates import CertificateAuthority
from standins.listener import LOOPBACK

from quart_app.fediverse.errors import ServerError
from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.types import Timeouts
from tests.peers.hostile import HOSTILE, HostileServer
from tests.tls_servers import client, resolving

TOTAL_SECONDS = 2
HARMFUL = sorted(HOSTILE.keys() - {"lying"})  # which is recognized, and has a test of its own


@pytest.fixture
async def fediverse(peer_authority: CertificateAuthority) -> AsyncIterator[Fediverse]:
    """A client that waits no longer than TOTAL_SECONDS."""
    limit = timedelta(seconds=TOTAL_SECONDS)
    async with client(
        peer_authority.file,
        resolve=resolving({"localhost": [LOOPBACK]}),
        timeouts=Timeouts(connect=limit, total=limit),
    ) as fediverse:
        yield fediverse


@pytest.mark.parametrize("name", [*HARMFUL, "expired", "other-name", "plain-http"])
async def test_a_hostile_server_is_an_error_in_time(
    name: str, fediverse: Fediverse, hostile: dict[str, HostileServer]
) -> None:
    begin = time.monotonic()
    with pytest.raises(ServerError) as error:
        await fediverse.recognize(hostile[name].host)
    assert time.monotonic() - begin < TOTAL_SECONDS + 1
    assert hostile[name].host in str(error.value)


async def test_a_server_that_lies_learns_nothing_of_other_servers(
    fediverse: Fediverse, hostile: dict[str, HostileServer]
) -> None:
    server = hostile["lying"]
    instance = await fediverse.recognize(server.host)
    assert instance.token_endpoint == f"{server.url}/oauth/token"
    assert instance.authorization_endpoint == f"{server.url}/oauth/authorize"
    assert instance.revocation_endpoint == f"{server.url}/oauth/revoke"
    assert instance.software.name == "unknown"
    account = await fediverse.verify_credentials(server.host, "token")
    assert account.profile_url is None
    assert account.avatar_url is None
