"""Unreadable and unusual requests on the wire: answered, and logged in one line."""

import re
import socket
import time
from collections.abc import Iterator

import h2.config
import h2.connection
import h2.events
import httpx2
import pytest

from tests.conftest import STATIC, migrated_database, settings_for
from tests.servers import Server, hypercorn
from tests.web.test_headers import ALWAYS

pytestmark = pytest.mark.xdist_group("wire")  # one worker, so one server

WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@pytest.fixture(scope="module")
def trusting_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that trusts one proxy, for all tests of this module; no test may harm it.

    One engine is enough, because no test here reaches the database.
    """
    folder = tmp_path_factory.mktemp("wire")
    trusting = {"QUART_APP_TRUSTED_PROXIES": "1"}
    with migrated_database("sqlite", request, folder) as url:
        with hypercorn(settings_for(url), folder, environ=trusting) as server:
            yield server
        assert "Traceback" not in server.log.read_text()


@pytest.fixture
def server(trusting_server: Server) -> Iterator[Server]:
    """The server; afterwards it must be alive and have logged no traceback."""
    before = trusting_server.log.stat().st_size
    yield trusting_server
    assert trusting_server.client.get("/healthz").status_code == 200
    assert b"Traceback" not in trusting_server.log.read_bytes()[before:]


def ask(server: Server, *lines: bytes, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Send a raw request, and return the response's status, headers and body."""
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"\r\n".join([*lines, b"Connection: close", b"", body]))
        answer = b""
        while received := connection.recv(65536):
            answer += received
    head, _, text = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    headers = dict(field.lower().split(": ", 1) for field in fields)
    return int(status.split()[1]), headers, text


def assert_is_problem(answer: tuple[int, dict[str, str], bytes], status: int, code: str) -> None:
    assert answer[0] == status
    assert answer[1]["content-type"] == "application/problem+json"
    assert f'"code": "{code}"'.encode() in answer[2]
    assert {name: answer[1].get(name.lower()) for name in ALWAYS} == {
        name: value.lower() for name, value in ALWAYS.items()
    }


@pytest.mark.parametrize(
    "lines",
    [
        (b"GET /login HTTP/1.1", b"Host: .."),
        (b"GET /login HTTP/1.1", b"Host: " + b"a" * 64 + b".example"),
        (b"GET /login HTTP/1.1", b"Host: a", b"X-Forwarded-Host: a..b"),
        (b"GET ?x HTTP/1.1", b"Host: a"),
        (b"GET http://[::1/login HTTP/1.1", b"Host: a"),
        (b"GET http://a.example HTTP/1.1", b"Host: a.example"),
    ],
    ids=lambda lines: str(b" ".join(lines))[:60],
)
def test_an_unreadable_request_is_a_bad_request(server: Server, lines: tuple[bytes, ...]) -> None:
    assert_is_problem(ask(server, *lines), 400, "bad_request")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((b"GET /login HTTP/1.1",), 400),
        ((b"GET /login",), 400),
        ((b"GET /" + b"a" * 20_000 + b" HTTP/1.1", b"Host: a"), 414),
        ((b"GET / HTTP/1.1", b"Host: a", b"X: " + b"a" * 20_000), 431),
        (
            (
                *(b"POST /logout HTTP/1.1", b"Host: a"),
                *(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
            ),
            400,
        ),
        ((b"POST /logout HTTP/1.1", b"Host: a", b"Transfer-Encoding: gzip"), 501),
    ],
    ids=lambda value: str(b" ".join(value))[:60] if isinstance(value, tuple) else None,
)
def test_refusals_of_the_server_itself_have_the_headers_of_every_response(
    server: Server, lines: tuple[bytes, ...], status: int
) -> None:
    answers = [ask(server, *lines) for _ in range(2)]
    for answered, headers, body in answers:
        assert (answered, body) == (status, b"")
        assert {name: headers.get(name.lower()) for name in ALWAYS} == {
            name: value.lower() for name, value in ALWAYS.items()
        }
        assert re.fullmatch("[0-9a-f]{24}", headers["x-request-id"])
    assert answers[0][1]["x-request-id"] != answers[1][1]["x-request-id"]


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((b"GET /login HTTP/1.0",), 200),
        ((b"GET /login HTTP/1.1", b"Host: my_host:8000"), 200),
        ((b"GET /login HTTP/1.1", b"Host: [::1]:8000"), 200),
        ((b"GET http://a.example/login HTTP/1.1", b"Host: a.example"), 200),
        ((b"GET /%ff%00?%ff HTTP/1.1", b"Host: a"), 404),
        ((b"OPTIONS * HTTP/1.1", b"Host: a"), 404),
        ((b"GET /static/0123456789abcdef/" + b"a" * 300 + b" HTTP/1.1", b"Host: a"), 404),
    ],
    ids=lambda value: str(b" ".join(value))[:60] if isinstance(value, tuple) else None,
)
def test_an_unusual_but_valid_request_is_answered(
    server: Server, lines: tuple[bytes, ...], status: int
) -> None:
    assert ask(server, *lines)[0] == status


def test_head_of_a_static_file_has_its_content_length(server: Server) -> None:
    head = (f"GET {STATIC}/style.css HTTP/1.1".encode(), b"Host: a", b"Accept-Encoding: gzip")
    status, headers, body = ask(server, *head)
    assert status == 200
    assert headers["content-length"] == str(len(body))
    status, told, nothing = ask(server, head[0].replace(b"GET", b"HEAD"), *head[1:])
    assert (status, nothing) == (200, b"")
    of_the_request = {"x-request-id", "date"}
    assert {name: told[name] for name in told.keys() - of_the_request} == {
        name: headers[name] for name in headers.keys() - of_the_request
    }
    status, headers, body = ask(server, *head, b"If-None-Match: " + headers["etag"].encode())
    assert (status, body) == (304, b"")
    assert not {"content-type", "content-length", "content-encoding"} & headers.keys()


@pytest.mark.parametrize("path", ["/", "/login", "/api/session_events"])
def test_a_websocket_request_is_not_found(server: Server, path: str) -> None:
    port = int(server.url.rpartition(":")[2])
    lines = [f"GET {path} HTTP/1.1", "Host: a", *(f"{n}: {v}" for n, v in WEBSOCKET.items())]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while b'"code"' not in answer and (received := connection.recv(65536)):
            answer += received
    assert answer.startswith(b"HTTP/1.1 404")
    for name, value in ALWAYS.items():
        assert f"{name.lower()}: {value}\r\n".encode() in answer


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"POST"])
def test_a_body_of_unknown_length_is_limited_for_every_method(
    server: Server, method: bytes
) -> None:
    chunks = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    lines = (method + b" /login HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked")
    assert ask(server, *lines, body=chunks * 17 + b"0\r\n\r\n")[0] == 413
    if method == b"GET":
        assert ask(server, *lines, body=chunks * 16 + b"0\r\n\r\n")[0] == 200


def test_a_query_that_is_not_utf_8_is_a_bad_request_over_http_2(server: Server) -> None:
    port = int(server.url.rpartition(":")[2])
    connection = h2.connection.H2Connection(
        h2.config.H2Configuration(header_encoding=None, validate_outbound_headers=False)
    )
    connection.initiate_connection()
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a")]
    connection.send_headers(1, [*fields, (b":path", b"/login?\xff")], end_stream=True)
    status, ended = b"", False
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        wire.sendall(connection.data_to_send())
        while not ended:
            received = wire.recv(65536)
            assert received
            for event in connection.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    status = dict(event.headers)[b":status"]
                ended |= isinstance(event, h2.events.StreamEnded)
    assert status == b"400"


def test_a_request_is_one_access_log_line_without_the_query(server: Server) -> None:
    forged = '/%0a127.0.0.1:1%20"GET%20/forged%20HTTP/1.1"%20200%1b[31m%c2%85%e2%80%a8?token=secret'
    assert httpx2.get(f"{server.url}{forged}").status_code == 404
    # The line is written after the response was sent, so the client may be faster.
    ends = time.monotonic() + 10
    while "forged" not in (log := server.log.read_text()) and time.monotonic() < ends:
        time.sleep(0.05)
    assert "secret" not in log
    assert "\x1b" not in log
    lines = [line for line in log.split("\n") if "forged" in line]
    assert len(lines) == 1
    assert lines[0].isprintable()
    shown = "/%0A127.0.0.1:1%20%22GET%20/forged%20HTTP/1.1%22%20200%1B%5B31m%C2%85%E2%80%A8"
    assert f'"GET {shown} 1.1" 404' in lines[0]
