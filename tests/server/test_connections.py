"""Many, silent, slow and abandoned connections: other clients are still answered."""

import resource
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cases import first_unless_thorough
from tests.conftest import STATIC, lacking, migrated_database, settings_for
from tests.servers import Server, hypercorn

pytestmark = [pytest.mark.alone, pytest.mark.xdist_group("connections")]

HEAD = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
ANSWERED_WITHIN_SECONDS = 1.0
DESCRIPTORS_BACK_WITHIN_SECONDS = 5.0
LARGEST_LOG_BYTES = 1_000_000
ATTACKERS = [f"127.0.0.{number}" for number in range(2, 12)]
USUAL_SOFT_LIMIT = 1024
GIVES_UP_ON_A_CLIENT_SECONDS = 30
STOPS_WITHIN_SECONDS = 10  # hypercorn.toml allows open requests 30


@contextmanager
def soft_limit(descriptors: int) -> Iterator[None]:
    """Let this process and its children open this many file descriptors until the block ends."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(params=["asyncio", pytest.param("uvloop", marks=pytest.mark.thorough)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server with either event loop, started with the usual soft limit."""
    with (
        migrated_database("sqlite", request, tmp_path) as url,
        soft_limit(USUAL_SOFT_LIMIT),
        hypercorn(settings_for(url), tmp_path, worker_class=request.param) as server,
    ):
        yield server
        assert "Traceback" not in server.log.read_text()


@contextmanager
def connected(
    server: Server, count: int, then: Callable[[socket.socket], None] = lambda _: None
) -> Iterator[list[socket.socket]]:
    """Hold this many connections from several addresses; `then` is called with each of them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    connections: list[socket.socket] = []
    with soft_limit(hard):
        try:
            for number in range(count):
                connection = connect(server, ATTACKERS[number % len(ATTACKERS)])
                connections.append(connection)
                then(connection)
            yield connections
        finally:
            for connection in connections:
                connection.close()


def connect(server: Server, address: str = "127.0.0.1") -> socket.socket:
    port = int(server.url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(address, 0))


def seconds_until_answered(server: Server, address: str = "127.0.0.1") -> float:
    """Send a request on a new connection."""
    began = time.monotonic()
    with connect(server, address) as connection:
        connection.sendall(HEAD + b"Connection: close\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    return time.monotonic() - began


def descriptors(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def assert_descriptors_come_back(server: Server, before: int) -> None:
    deadline = time.monotonic() + DESCRIPTORS_BACK_WITHIN_SECONDS
    while (now := descriptors(server)) > before + 5:  # its database may have opened files
        assert time.monotonic() < deadline, f"{now} descriptors are open, and {before} were"
        time.sleep(0.05)


def errors_logged(server: Server) -> int:
    """Return the size of the log without the access log."""
    lines = server.log.read_bytes().splitlines(keepends=True)
    return sum(len(line) for line in lines if b'"GET /healthz 1.1" 200' not in line)


def close_with_reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def answered(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"\r\n")
    assert connection.recv(65536)


ABANDONED: dict[str, Callable[[socket.socket], None]] = {
    "before a byte": lambda _: None,
    "after an answer": answered,
    "within a head": lambda connection: connection.sendall(HEAD),
    "within a body": lambda connection: connection.sendall(
        b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na"
    ),
    "within an HTTP/2 preface": lambda connection: connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM"),
    "after an HTTP/2 preface": lambda connection: connection.sendall(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    ),
    "after a WebSocket handshake": lambda connection: connection.sendall(
        HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ),
}


@pytest.mark.parametrize("close", first_unless_thorough(1, [socket.socket.close, close_with_reset]))
def test_a_connection_that_the_client_closed_is_closed_at_once(
    server: Server, close: Callable[[socket.socket], None]
) -> None:
    before = descriptors(server)
    for then in ABANDONED.values():
        with connected(server, 20, then) as connections:
            for connection in connections:
                close(connection)
    assert_descriptors_come_back(server, before)


def test_each_request_is_answered_on_a_connection_of_its_own(
    server: Server, *, thorough: bool
) -> None:
    before = descriptors(server)
    for number in range(20_000 if thorough else 500):
        with connect(server, ATTACKERS[number % len(ATTACKERS)]) as connection:
            answered(connection)
        if number % 100 == 0:
            assert seconds_until_answered(server) < ANSWERED_WITHIN_SECONDS
    assert_descriptors_come_back(server, before)
    assert errors_logged(server) < LARGEST_LOG_BYTES


@pytest.mark.parametrize("sent", [b"", b"G", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
def test_silent_connections_do_not_block_other_clients(
    server: Server, sent: bytes, request: pytest.FixtureRequest, *, thorough: bool
) -> None:
    count = 5000 if thorough else 1200
    if sent:  # setting up each of these takes as long as a request
        count //= 4
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < count + 100:
        lacking(request.config, f"{count + 100} file descriptors (ulimit -Hn)")
    before = descriptors(server)
    with connected(server, count, lambda connection: connection.sendall(sent)):
        assert seconds_until_answered(server) < ANSWERED_WITHIN_SECONDS
        if not sent:  # otherwise this address waits for its own data to be processed
            assert seconds_until_answered(server, ATTACKERS[0]) < ANSWERED_WITHIN_SECONDS
    assert_descriptors_come_back(server, before)
    assert seconds_until_answered(server) < ANSWERED_WITHIN_SECONDS
    assert server.log.stat().st_size < LARGEST_LOG_BYTES


def test_silent_connections_are_closed_when_file_descriptors_run_out(server: Server) -> None:
    before = descriptors(server)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (before + 40, hard))
    with connected(server, 600):
        for _ in range(20):
            assert seconds_until_answered(server) < ANSWERED_WITHIN_SECONDS
            time.sleep(0.1)
    assert_descriptors_come_back(server, before)
    assert errors_logged(server) < 5000
    assert "Too many connections" in server.log.read_text()


def ask_and_read_nothing(connection: socket.socket) -> None:
    """Ask for more than the buffers of both sides hold."""
    request = f"GET {STATIC}/style.css HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(request * 500)


def wait_until_buffers_are_full(server: Server) -> None:
    """Wait until no response is completed any longer; the system buffers megabytes of them."""
    sizes = [-1, server.log.stat().st_size]
    while sizes[-1] != sizes[-2]:
        time.sleep(1)
        sizes.append(server.log.stat().st_size)


def test_a_client_that_leaves_in_the_middle_of_an_answer_does_not_hold_up_the_stop(
    server: Server,
) -> None:
    """It has sent its next requests already."""
    with connected(server, 1, ask_and_read_nothing) as (connection,):
        wait_until_buffers_are_full(server)
        close_with_reset(connection)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(STOPS_WITHIN_SECONDS) == 0


@pytest.mark.thorough  # takes half a minute
def test_a_client_that_does_not_read_the_response_is_disconnected(server: Server) -> None:
    before = descriptors(server)
    with connected(server, 10, ask_and_read_nothing):
        wait_until_buffers_are_full(server)
        assert descriptors(server) > before + 5  # else there would be none to come back
        assert seconds_until_answered(server) < ANSWERED_WITHIN_SECONDS
        time.sleep(GIVES_UP_ON_A_CLIENT_SECONDS)
        assert_descriptors_come_back(server, before)
