"""Each hostile server does the harm that it is named for, to a client that is not careful."""

import asyncio
import json
import ssl
import time

import httpx2
import pytest

from tests.peers.hostile import HOSTILE, METADATA_ADDRESS, HostileServer

MIB = 2**20
PATH = "/.well-known/nodeinfo"

Servers = dict[str, HostileServer]


def bytes_read(client: httpx2.Client, url: str, at_most: int) -> int:
    """Return how many bytes of the body come, decompressed, until there are enough."""
    count = 0
    with client.stream("GET", url) as response:
        for piece in response.iter_bytes():
            count += len(piece)
            if count >= at_most:
                break
    return count


@pytest.mark.parametrize("name", ["silent", "endless-headers", "endless-continue", "dripping"])
async def test_no_answer_ever_comes(name: str, hostile: Servers, peer_tls: ssl.SSLContext) -> None:
    async with httpx2.AsyncClient(verify=peer_tls, timeout=2) as client:
        with pytest.raises((TimeoutError, httpx2.RemoteProtocolError)):
            async with asyncio.timeout(0.7):
                await client.get(f"{hostile[name].url}{PATH}")


@pytest.mark.parametrize("name", ["huge", "bomb", "endless"])
def test_a_body_is_larger_than_anything_useful(
    name: str, hostile: Servers, http: httpx2.Client
) -> None:
    assert bytes_read(http, f"{hostile[name].url}{PATH}", 2 * MIB) >= 2 * MIB


def test_a_bomb_is_small_on_the_wire(hostile: Servers, http: httpx2.Client) -> None:
    with http.stream("GET", f"{hostile['bomb'].url}{PATH}") as response:
        assert int(response.headers["Content-Length"]) < 64 * 1024


def test_a_body_drips(hostile: Servers, http: httpx2.Client) -> None:
    begin = time.monotonic()
    with http.stream("GET", f"{hostile['dripping-body'].url}{PATH}", timeout=0.5) as response:
        for _ in response.iter_raw():
            if time.monotonic() - begin > 1:
                break
    assert time.monotonic() - begin > 1


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.startswith("redirects")])
def test_a_redirect_leads_astray(name: str, hostile: Servers, http: httpx2.Client) -> None:
    response = http.get(f"{hostile[name].url}{PATH}")
    assert response.has_redirect_location
    assert response.headers["Location"] in {
        METADATA_ADDRESS,
        "https://127.0.0.1/",
        "file:///etc/passwd",
        "/",
    }


@pytest.mark.parametrize("name", ["html-as-json", "deep", "long-number", "not-utf-8", "nothing"])
def test_a_body_with_the_type_of_json_is_none(
    name: str, hostile: Servers, http: httpx2.Client
) -> None:
    response = http.get(f"{hostile[name].url}{PATH}")
    assert response.headers["Content-Type"] == "application/json"
    with pytest.raises((ValueError, RecursionError)):
        json.loads(response.content)


@pytest.mark.parametrize("name", ["html", "json-as-html", "list", "error"])
def test_an_answer_is_of_another_kind(name: str, hostile: Servers, http: httpx2.Client) -> None:
    response = http.get(f"{hostile[name].url}{PATH}")
    is_object = response.content.startswith(b"{")
    assert response.headers["Content-Type"] == "text/html" or not is_object


@pytest.mark.parametrize("name", ["resets", "resets-in-body", "cut-short", "no-http"])
def test_a_connection_breaks(name: str, hostile: Servers, http: httpx2.Client) -> None:
    with pytest.raises(httpx2.TransportError):
        http.get(f"{hostile[name].url}{PATH}")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("expired", "certificate has expired"),
        ("other-name", "Hostname mismatch"),
        ("plain-http", "(?i)ssl|tls|disconnected|timed out|EOF"),
    ],
)
def test_a_certificate_is_wrong(name: str, why: str, hostile: Servers, http: httpx2.Client) -> None:
    with pytest.raises(httpx2.TransportError, match=why):
        http.get(f"{hostile[name].url}{PATH}", timeout=1)


def test_a_server_claims_to_be_another(hostile: Servers, http: httpx2.Client) -> None:
    url = hostile["lying"].url
    metadata = http.get(f"{url}/.well-known/oauth-authorization-server").json()
    assert metadata["token_endpoint"] == METADATA_ADDRESS
    (link,) = http.get(f"{url}{PATH}").json()["links"]
    assert link["href"].startswith("https://mastodon.social/")
    assert hostile["lying"].requests[PATH] == 1
