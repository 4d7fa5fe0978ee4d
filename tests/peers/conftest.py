"""A client that trusts the peers, as tests of the peers themselves need one."""

import ssl
from collections.abc import Iterator

import httpx2
import pytest


@pytest.fixture
def http(peer_tls: ssl.SSLContext) -> Iterator[httpx2.Client]:
    with httpx2.Client(verify=peer_tls, timeout=20) as client:
        yield client
