"""HTTP/1.1 requests that proxies may read differently, oversized requests, and upgrades."""

import re
import socket
from collections.abc import Iterator

import pytest

from tests.conftest import migrated_database, settings_for
from tests.servers import Server, hypercorn

pytestmark = pytest.mark.xdist_group("wire")

GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /api/logout HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
HTTP_2_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@pytest.fixture(scope="module", params=["0", "1"], ids=lambda hops: f"{hops} trusted proxies")
def framing_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server for all tests of this module, behind a proxy or not."""
    folder = tmp_path_factory.mktemp("framing")
    environ = {"QUART_APP_TRUSTED_PROXIES": request.param}
    with migrated_database("sqlite", request, folder) as url:
        with hypercorn(settings_for(url), folder, environ=environ) as server:
            yield server
        assert "Traceback" not in server.log.read_text()


def statuses(server: Server, sent: bytes) -> tuple[list[int], bool]:
    """Send raw bytes; return the status of each response, and whether the server closed."""
    port = int(server.url.rpartition(":")[2])
    received, has_closed = b"", True
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(sent)
        try:
            while part := connection.recv(65536):
                received += part
        except TimeoutError:
            has_closed = False
        except ConnectionResetError:  # it closed while our bytes were on the way
            pass
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", received)], has_closed


UNCLEAR_LENGTHS = {
    "both": POST + b"Content-Length: 6\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "both, chunks first": POST + CHUNKED + b"Content-Length: 6\r\n\r\n0\r\n\r\n",
    "both, odd case": POST + b"content-LENGTH: 0\r\nTRANSFER-encoding: Chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": POST.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n0\r\n\r\n",
    "chunks twice": POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
    "other coding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "two in one": POST + b"Content-Length: 1, 2\r\n\r\nab",
    "signed length": POST + b"Content-Length: +1\r\n\r\na",
    "two hosts": GET + b"Host: b\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "space in a name": GET + b"Content-Length : 1\r\n\r\na",
    "bare CR": GET + b"X: a\rContent-Length: 1\r\n\r\n",
}


@pytest.mark.parametrize("sent", UNCLEAR_LENGTHS.values(), ids=UNCLEAR_LENGTHS)
def test_a_request_that_a_proxy_may_read_differently_is_refused_and_the_connection_closed(
    framing_server: Server, sent: bytes
) -> None:
    (status,), has_closed = statuses(framing_server, sent + GET + b"\r\n")
    assert status in {400, 501}
    assert has_closed


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (GET + b"X: " + b"a" * 15_000 + b"\r\n\r\n", 200),
        (GET + b"X: " + b"a" * 16_384 + b"\r\n\r\n", 431),
        (GET + b"X: " + b"a" * 60_000 + b"\r\n\r\n", 431),
        (GET + b"X: " + b"a" * 60_000, 431),
        (GET + b"a: b\r\n" * 95 + b"\r\n", 200),
        (GET + b"a: b\r\n" * 101 + b"\r\n", 431),
        (GET + b"a:\r\n" * 15_000 + b"\r\n", 431),
        (GET + b"X: a\r\n" + b" b\r\n" * 200 + b"\r\n", 431),
        (b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /" + b"a" * 60_000, 414),
        (b"GET /login?" + b"a&" * 99 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"GET /login?" + b"a&" * 100 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (POST + CHUNKED + b"\r\n" + b"1\r\na\r\n" * 300 + b"0\r\n\r\n", 413),
        (POST + CHUNKED + b"\r\n1;" + b"x" * 6000 + b"\r\na\r\n0\r\n\r\n", 400),
        (POST + CHUNKED + b"\r\n0\r\n" + b"a:\r\n" * 5000 + b"\r\n", 400),
        (POST + CHUNKED + b"\r\n0\r\nX-Checksum: a\r\n\r\n", 204),
    ],
    ids=lambda value: f"{str(value)[:20]}… {len(value)}" if isinstance(value, bytes) else None,
)
def test_limits_hold_however_the_bytes_arrive(
    framing_server: Server, sent: bytes, status: int
) -> None:
    answers, has_closed = statuses(framing_server, sent)
    assert answers == [status]
    assert has_closed == (status in {413, 414, 431} or (status == 400 and sent.startswith(b"POST")))


def test_an_oversized_head_behind_another_request_is_refused(framing_server: Server) -> None:
    sent = GET + b"\r\n" + GET + b"X: " + b"a" * 40_000 + b"\r\n\r\n"
    assert statuses(framing_server, sent) == ([200, 431], True)


@pytest.mark.parametrize("value", [b"h2c", b"H2C", b" h2c ", b"h2c, websocket", b"websocket, h2c"])
@pytest.mark.parametrize("connection", [b"Upgrade, HTTP2-Settings", b"close, upgrade"])
def test_no_client_can_upgrade_from_http_1_to_http_2(
    framing_server: Server, value: bytes, connection: bytes
) -> None:
    upgrade = b"Upgrade: " + value + b"\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    sent = GET + b"Connection: " + connection + b"\r\n" + upgrade + b"\r\n"
    answers, _ = statuses(framing_server, sent + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert answers[0] == 200
    assert 101 not in answers


def test_http_2_is_accepted_only_at_the_start_of_a_connection(framing_server: Server) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HTTP_2_SETTINGS
    assert statuses(framing_server, GET + b"\r\n" + preface) == ([200, 400], True)


@pytest.mark.parametrize("more", [b"", b"Sec-WebSocket-Version: 13\r\n"])
@pytest.mark.parametrize("early", [b"", b"\x81\x85aaaa12345"])
def test_a_refused_websocket_closes_its_connection(
    framing_server: Server, more: bytes, early: bytes
) -> None:
    upgrade = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n"
    assert statuses(framing_server, GET + upgrade + more + b"\r\n" + early) == ([404], True)
