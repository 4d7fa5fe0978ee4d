"""A client that trusts the peers, as tests of the peers themselves need one."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.peers.fixtures import Peers


@pytest.fixture
def http(peers: Peers) -> Iterator[httpx2.Client]:
    with httpx2.Client(verify=peers.tls, timeout=20) as client:
        yield client
