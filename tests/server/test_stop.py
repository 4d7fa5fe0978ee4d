"""A stopping process answers what it has been sent, and announces that it ends."""

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import URL

from quart_app.settings import Settings
from quart_app.web.connections.draining import IDLE_SECONDS
from quart_app.web.pipeline.headers import CSP_REPORTS_PATH
from tests.conftest import settings_for
from tests.restarts import service
from tests.server.test_http2 import DATA, END_STREAM, PING, with_field
from tests.server.test_http2 import Client as Http2Client
from tests.servers import Server, hypercorn

ACK = 1
LAST_STREAM_OF_ALL = 2**31 - 1
MEDIA_TYPE = "application/csp-report"
REPORT = json.dumps({"csp-report": {"violated-directive": "img-src"}}).encode()


@pytest.fixture(params=["asyncio", pytest.param("uvloop", marks=pytest.mark.thorough)])
def worker_class(request: pytest.FixtureRequest) -> str:
    """Hypercorn's kind of worker, which decides the event loop."""
    return str(request.param)


@pytest.fixture
def settings(migrated_sqlite: Path) -> Settings:
    return settings_for(URL.create("sqlite+aiosqlite", database=str(migrated_sqlite)))


@pytest.fixture
def server(settings: Settings, tmp_path: Path, worker_class: str) -> Iterator[Server]:
    """A server, which the test stops."""
    with hypercorn(settings, tmp_path, worker_class=worker_class) as server:
        yield server
        assert server.process.wait(IDLE_SECONDS + 5) == 0
        assert "Traceback" not in server.log.read_text()


Connect = Callable[[int], HTTPConnection]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connect to a port, and send nothing; the connections are closed after the test."""
    with ExitStack() as stack:

        def connect(port: int) -> HTTPConnection:
            connection = stack.enter_context(closing(HTTPConnection("127.0.0.1", port, timeout=10)))
            connection.connect()
            return connection

        yield connect


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


def announces_its_end(response: HTTPResponse) -> bool:
    response.read()
    return response.headers["Connection"] == "close"


def test_a_kept_connection_gets_one_more_answer_which_announces_its_end(
    server: Server, connect: Connect
) -> None:
    kept = [connect(port_of(server)) for _ in range(2)]
    for connection in kept:
        connection.request("GET", "/healthz")
        assert not announces_its_end(connection.getresponse())
    server.process.send_signal(signal.SIGTERM)
    time.sleep(1)
    kept[0].request("GET", "/healthz")
    response = kept[0].getresponse()
    assert response.status == 200
    assert announces_its_end(response)
    kept[1].request("GET", "/readyz")
    response = kept[1].getresponse()
    assert response.status == 503
    assert json.loads(response.read())["reasons"] == ["The process is stopping."]
    assert response.headers["Connection"] == "close"


def test_a_connection_without_a_request_yet_is_answered(server: Server, connect: Connect) -> None:
    """Whether it has been accepted, or waits to be."""
    accepted = connect(port_of(server))
    assert httpx2.get(f"{server.url}/healthz").status_code == 200  # accepted after it
    server.process.send_signal(signal.SIGSTOP)
    waiting, silent = connect(port_of(server)), connect(port_of(server))
    waiting.request("GET", "/healthz")
    server.process.send_signal(signal.SIGTERM)
    server.process.send_signal(signal.SIGCONT)
    time.sleep(1)
    for connection in (accepted, silent):
        connection.request(
            "POST", CSP_REPORTS_PATH, REPORT, {"Content-Type": "application/csp-report"}
        )
    for connection in (waiting, accepted, silent):
        response = connection.getresponse()
        assert 200 <= response.status < 300
        assert announces_its_end(response)


@pytest.mark.parametrize("worker_class", ["asyncio", "uvloop"])
def test_a_stopping_process_leaves_new_connections_to_others(
    settings: Settings, tmp_path: Path, worker_class: str, connect: Connect
) -> None:
    with service(settings, tmp_path, worker_class=worker_class) as served:
        kept = connect(served.port)
        kept.request("GET", "/healthz")
        kept.getresponse().read()
        served.processes[0].send_signal(signal.SIGTERM)
        time.sleep(0.5)
        new = connect(served.port)
        new.request("GET", "/readyz")
        new.sock.settimeout(1)
        with pytest.raises(TimeoutError):
            new.sock.recv(1, socket.MSG_PEEK)
        assert served.processes[0].poll() is None
        kept.close()
        served.start()
        new.sock.settimeout(10)
        response = new.getresponse()
        assert (response.status, response.read()) == (200, b'{"status":"ready"}\n')
        assert served.processes[0].wait(IDLE_SECONDS) == 0
        assert "/readyz" not in served.log(0).read_text()


def test_an_idle_http2_connection_ends_when_its_client_knows_of_the_stop(server: Server) -> None:
    with closing(Http2Client(server)) as http2:
        http2.ask(1)
        http2.read_until(lambda: 1 in http2.statuses)
        server.process.send_signal(signal.SIGTERM)
        http2.read_until(lambda: http2.last_stream == LAST_STREAM_OF_ALL)
        http2.frame(PING, ACK, 0, b"stopping")
        since = time.monotonic()
        http2.read_until(lambda: http2.last_stream == 1)
        assert not http2.has_ended  # the client closes
        assert time.monotonic() - since < 2


def test_a_stop_while_clients_leave_is_a_normal_one(server: Server) -> None:
    """Some connections are being closed just then; nothing can be announced on them."""
    clients = [Http2Client(server) for _ in range(100)]
    for client in clients:
        client.ask(1)
        client.read_until(lambda client=client: 1 in client.ended)  # type: ignore[misc]
    for client in clients:
        client.close()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(IDLE_SECONDS + 10) == 0
    assert "Traceback" not in server.log.read_text()


def test_requests_under_way_are_finished_though_they_take_longer(
    server: Server, connect: Connect
) -> None:
    """HTTP/1.1, and HTTP/2 with a request that was sent before its client knew."""
    http1 = connect(port_of(server))
    http1.putrequest("POST", CSP_REPORTS_PATH)
    http1.putheader("Content-Type", MEDIA_TYPE)
    http1.putheader("Content-Length", str(len(REPORT)))
    http1.endheaders(REPORT[:5])
    with closing(Http2Client(server)) as http2:
        post = [
            *with_field(b":method", b"POST")[:3],
            (b":path", CSP_REPORTS_PATH.encode()),
            (b"content-type", MEDIA_TYPE.encode()),
        ]
        http2.ask(1, post, ends=False)
        http2.ask(3)
        http2.read_until(lambda: 3 in http2.statuses)
        server.process.send_signal(signal.SIGTERM)
        http2.read_until(lambda: http2.last_stream is not None)
        assert http2.last_stream == LAST_STREAM_OF_ALL
        http2.ask(5)
        http2.read_until(lambda: 5 in http2.statuses)
        assert http2.statuses == {3: 200, 5: 200}
        time.sleep(IDLE_SECONDS + 0.5)
        http1.send(REPORT[5:])
        response = http1.getresponse()
        assert response.status == 204
        assert announces_its_end(response)
        http2.frame(PING, ACK, 0, b"stopping")
        http2.frame(DATA, END_STREAM, 1, REPORT)
        http2.read_until(lambda: http2.last_stream == 5)
        assert http2.statuses == {1: 204, 3: 200, 5: 200}
        http2.read_until(lambda: False)  # until the server closes
