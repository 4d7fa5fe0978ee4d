"""HTTP/2 requests that cannot be served: each is refused alone, without a traceback in the log."""

import re
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import hpack
import pytest

from tests.conftest import migrated_database, settings_for
from tests.servers import Server, hypercorn
from tests.web.test_headers import ALWAYS

pytestmark = pytest.mark.xdist_group("wire")

Field = tuple[bytes, bytes]
GET: list[Field] = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"a"),
    (b":path", b"/healthz"),
]
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 2, 3, 4, 6, 7
WINDOW_UPDATE, CONTINUATION, UNKNOWN = 8, 9, 99
END_STREAM, END_HEADERS = 1, 4
CANCEL = struct.pack(">I", 8)
ENHANCE_YOUR_CALM = 11
AFTERWARDS = 2001  # the stream of the request that is sent last


@pytest.fixture(scope="module")
def http2_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server for all tests of this module; no test may harm it."""
    folder = tmp_path_factory.mktemp("http2")
    with migrated_database("sqlite", request, folder) as url:
        with hypercorn(settings_for(url), folder) as server:
            yield server
        assert "Traceback" not in server.log.read_text()


def with_field(name: bytes, value: bytes) -> list[Field]:
    """Return a request with this field, in place of the field of that name or in addition."""
    if name in dict(GET):
        return [(each, value if each == name else old) for each, old in GET]
    return [*GET, (name, value)]


def without(name: bytes) -> list[Field]:
    return [field for field in GET if field[0] != name]


class Client:
    """An HTTP/2 client that does not check what it sends."""

    def __init__(self, server: Server) -> None:
        port = int(server.url.rpartition(":")[2])
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._received = b""
        self.statuses: dict[int, int] = {}
        self.fields: dict[int, dict[bytes, bytes]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()  # streams whose answer is complete
        self.resets: set[int] = set()
        self.goaway: int | None = None  # its error code
        self.last_stream: int | None = None  # as the GOAWAY says
        self.has_ended = False
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.frame(SETTINGS)

    def close(self) -> None:
        self._socket.close()

    def frame(self, kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> None:
        self.send(frame(kind, flags, stream, payload))

    def send(self, sent: bytes) -> None:
        try:
            self._socket.sendall(sent)
        except OSError:
            self.has_ended = True

    def encoded(self, fields: Sequence[Field]) -> bytes:
        return self._encoder.encode(fields, huffman=False)

    def ask(self, stream: int, fields: Sequence[Field] = GET, *, ends: bool = True) -> None:
        flags = END_HEADERS | (END_STREAM if ends else 0)
        self.frame(HEADERS, flags, stream, self.encoded(fields))

    def read_until(self, is_over: Callable[[], bool]) -> None:
        """Read frames until a condition holds or the server has closed the connection."""
        self._socket.settimeout(10)
        while not self.has_ended and not is_over():
            try:
                received = self._socket.recv(65536)
            except ConnectionResetError:
                received = b""
            self.has_ended |= not received
            self._received += received
            while self._take_frame():
                pass

    def _take_frame(self) -> bool:
        length = int.from_bytes(self._received[:3], "big")
        if len(self._received) < 9 + length:
            return False
        kind, flags = self._received[3:5]
        stream = int.from_bytes(self._received[5:9], "big")
        payload, self._received = self._received[9 : 9 + length], self._received[9 + length :]
        if kind in {DATA, HEADERS} and flags & END_STREAM:
            self.ended.add(stream)
        if kind == HEADERS:
            fields = dict(self._decoder.decode(payload, raw=True))
            self.statuses[stream] = int(bytes(fields[b":status"]))
            self.fields[stream] = {bytes(name): bytes(value) for name, value in fields.items()}
        elif kind == DATA:
            self.bodies[stream] = self.bodies.get(stream, b"") + payload
        elif kind == RST_STREAM:
            self.resets.add(stream)
        elif kind == GOAWAY:
            self.last_stream, self.goaway = struct.unpack(">II", payload[:8])
        return True


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Return a frame as bytes (RFC 9113, section 4.1)."""
    head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
    return head + struct.pack(">I", stream) + payload


@pytest.fixture
def client(http2_server: Server) -> Iterator[Client]:
    with closing(Client(http2_server)) as client:
        yield client


CAN_NOT_BE_SERVED: dict[str, list[Field]] = {
    "quote in the method": with_field(b":method", b'GET /forged 1.1" 200 19 "'),
    "space in the method": with_field(b":method", b"GE T"),
    "line end in the method": with_field(b":method", b"GET\r\nX: a"),
    "method of other letters": with_field(b":method", "GÉT".encode()),
    "empty method": with_field(b":method", b""),
    "path of other letters": with_field(b":path", "/café".encode()),
    "path of no encoding": with_field(b":path", b"/\xff"),
    "query of no encoding": with_field(b":path", b"/login?\xff"),
    "space in the path": with_field(b":path", b"/a b"),
    "NUL in the path": with_field(b":path", b"/a\0b"),
    "line end in the path": with_field(b":path", b"/a\nb"),
    "empty path": with_field(b":path", b""),
    "no path": without(b":path"),
    "no method": without(b":method"),
    "no scheme": without(b":scheme"),
    "no authority": without(b":authority"),
    "path twice": [*GET, (b":path", b"/login")],
    "method twice": [*GET, (b":method", b"POST")],
    "pseudo header of no such name": with_field(b":other", b"a"),
    "pseudo header of answers": with_field(b":status", b"200"),
    "pseudo header last": [(b"accept", b"*/*"), *GET],
    "two hosts": with_field(b"host", b"b"),
    "line end in a field": with_field(b"x-a", b"a\r\nb"),
    "capital in a name": with_field(b"X-A", b"a"),
    "connection": with_field(b"connection", b"close"),
    "transfer-encoding": with_field(b"transfer-encoding", b"chunked"),
    "upgrade": with_field(b"upgrade", b"h2c"),
    "CONNECT": [(b":method", b"CONNECT"), (b":authority", b"a:443")],
    "CONNECT with a path": with_field(b":method", b"CONNECT"),
    "WebSocket": [*with_field(b":method", b"CONNECT"), (b":protocol", b"websocket")],
    "other protocol": [*with_field(b":method", b"CONNECT"), (b":protocol", b"x")],
    "protocol without CONNECT": with_field(b":protocol", b"websocket"),
    "length that is no number": with_field(b"content-length", b"+0"),
    "two lengths": [*GET, (b"content-length", b"0"), (b"content-length", b"1")],
    "long length": with_field(b"content-length", b"9" * 5000),
    "many fields": [*GET, *((b"x-%d" % number, b"a") for number in range(150))],
    "large fields in a small frame": [*GET, *([(b"x-a", b"a" * 2000)] * 12)],
}


@pytest.mark.parametrize("fields", CAN_NOT_BE_SERVED.values(), ids=CAN_NOT_BE_SERVED)
@pytest.mark.parametrize("ends", [True, False], ids=["without a body", "with a body"])
def test_a_request_that_cannot_be_served_does_not_affect_others(
    client: Client, fields: list[Field], *, ends: bool
) -> None:
    client.ask(1, with_field(b":path", b"/login"))  # in flight at the same time
    client.ask(3, fields, ends=ends)
    if not ends:
        client.frame(DATA, END_STREAM, 3, b"abc")
    client.ask(AFTERWARDS)
    client.read_until(lambda: {1, AFTERWARDS} <= client.statuses.keys())
    assert client.statuses[1] == client.statuses[AFTERWARDS] == 200
    assert 400 <= client.statuses.get(3, 400) < 500
    assert 3 in client.statuses.keys() | client.resets


def test_the_remaining_body_of_a_refused_request_does_not_affect_others(client: Client) -> None:
    post = [*with_field(b":method", b"POST"), (b"content-length", b"3000000")]
    client.ask(1, post, ends=False)
    client.read_until(lambda: 1 in client.statuses)
    for _ in range(10):
        client.frame(DATA, 0, 1, b"a" * 4096)
    client.ask(AFTERWARDS)
    client.read_until(lambda: AFTERWARDS in client.statuses)
    assert client.statuses == {1: 413, AFTERWARDS: 200}


def log_out(length: bytes) -> list[Field]:
    """Return a request whose body is said to be of this length."""
    request = dict(GET) | {b":method": b"POST", b":path": b"/logout", b"content-length": length}
    return list(request.items())


WRONG_LENGTHS: dict[str, tuple[bytes, list[bytes]]] = {
    "shorter": (b"5", [b"abc"]),
    "longer": (b"2", [b"abc"]),
    "longer, in pieces": (b"4", [b"abc", b"abc"]),
    "a body where there is none": (b"0", [b"a"]),
    "none where there is a body": (b"3", [b""]),
    "longer than any that is taken": (b"9" * 30, [b""]),
}


@pytest.mark.parametrize(("length", "pieces"), WRONG_LENGTHS.values(), ids=WRONG_LENGTHS)
def test_a_body_of_another_length_than_announced_harms_no_other(
    client: Client, http2_server: Server, length: bytes, pieces: list[bytes]
) -> None:
    client.ask(1, with_field(b":path", b"/login"))  # under way meanwhile
    client.ask(3, log_out(length), ends=False)
    for piece in pieces:
        client.frame(DATA, END_STREAM if piece is pieces[-1] else 0, 3, piece)
    client.ask(AFTERWARDS)
    client.read_until(lambda: {1, AFTERWARDS} <= client.statuses.keys())
    assert client.statuses[1] == client.statuses[AFTERWARDS] == 200
    client.read_until(lambda: 3 in client.resets | client.statuses.keys())
    assert client.statuses.get(3, 413) == 413  # nothing was carried out
    assert '"POST /logout 2" 303' not in http2_server.log.read_text()


def test_a_body_of_the_announced_length_is_read_with_its_trailers(client: Client) -> None:
    client.ask(1, log_out(b"6"), ends=False)
    client.frame(DATA, 0, 1, b"abc")
    client.frame(DATA, 0, 1, b"=de")
    client.ask(1, [(b"x-checksum", b"a")])
    client.read_until(lambda: 1 in client.statuses)
    assert client.statuses == {1: 303}
    assert not client.resets


def test_a_refusal_has_the_headers_of_every_answer(client: Client) -> None:
    client.ask(1, without(b":path"))
    client.ask(3, with_field(b":path", b"/login?\xff"))
    client.read_until(lambda: {1, 3} <= client.statuses.keys())
    for stream in (1, 3):
        fields = client.fields[stream]
        assert {name: fields.get(name.lower().encode()) for name in ALWAYS} == {
            name: value.encode() for name, value in ALWAYS.items()
        }
        assert re.fullmatch(rb"[0-9a-f]{24}", fields[b"x-request-id"])
    assert client.fields[1][b"x-request-id"] != client.fields[3][b"x-request-id"]


def requests_reset_at_once(client: Client) -> bytes:
    return b"".join(
        frame(HEADERS, END_HEADERS | END_STREAM, stream, client.encoded(GET))
        + frame(RST_STREAM, 0, stream, CANCEL)
        for stream in range(1, 1201, 2)
    )


def bodies_of_wrong_lengths(client: Client) -> bytes:
    return b"".join(
        frame(HEADERS, END_HEADERS, stream, client.encoded(log_out(b"5")))
        + frame(DATA, END_STREAM, stream, b"abc")
        for stream in range(1, 1201, 2)
    )


def body_of_single_bytes(client: Client) -> bytes:
    post = client.encoded(with_field(b":method", b"POST"))
    return frame(HEADERS, END_HEADERS, 1, post) + frame(DATA, 0, 1, b"a") * 3000


FLOODS: dict[str, Callable[[Client], bytes]] = {
    "pings": lambda _: frame(PING, 0, 0, bytes(8)) * 3000,
    "settings": lambda _: frame(SETTINGS) * 3000,
    "priorities": lambda _: b"".join(
        frame(PRIORITY, 0, stream, struct.pack(">IB", 0, 1)) for stream in range(3, 6003, 2)
    ),
    "window updates": lambda _: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) * 3000,
    "frames of no such kind": lambda _: frame(UNKNOWN, 0, 0, b"") * 3000,
    "requests reset at once": requests_reset_at_once,
    "bodies of wrong lengths": bodies_of_wrong_lengths,
    "a body of single bytes": body_of_single_bytes,
    "continuations": lambda client: (
        frame(HEADERS, END_STREAM, 1, client.encoded(GET)) + frame(CONTINUATION, 0, 1, b"") * 3000
    ),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_flood_of_frames_closes_its_connection(
    client: Client, flood: Callable[[Client], bytes]
) -> None:
    client.send(flood(client))
    client.read_until(lambda: False)
    assert client.has_ended
    # None if our own frames reset the connection.
    assert client.goaway in {None, 1, ENHANCE_YOUR_CALM}


def test_a_stream_that_depends_on_itself_causes_no_traceback(client: Client) -> None:
    client.frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 10))
    client.read_until(lambda: client.goaway is not None)
    assert client.has_ended or client.goaway == 1


def test_many_requests_with_some_resets_are_not_a_flood(client: Client) -> None:
    for stream in range(1, 401, 2):
        client.ask(stream)
        if stream % 5 == 0:
            client.frame(RST_STREAM, 0, stream, CANCEL)
        else:
            client.read_until(lambda stream=stream: stream in client.statuses)  # type: ignore[misc]
    client.ask(AFTERWARDS)
    client.read_until(lambda: AFTERWARDS in client.statuses)
    assert set(client.statuses.values()) == {200}


def test_a_request_is_one_access_log_line_with_fields_in_order(
    client: Client, http2_server: Server
) -> None:
    before = http2_server.log.stat().st_size
    hostile = [
        *with_field(b":path", b"/one%22%0a%1b[31m\\%22"),
        (b"user-agent", b'"forged" \x1b\xff'),
    ]
    for number, fields in enumerate([*CAN_NOT_BE_SERVED.values(), hostile]):
        client.ask(2 * number + 1, fields)
    client.ask(AFTERWARDS)
    client.read_until(lambda: AFTERWARDS in client.statuses)
    ends = time.monotonic() + 10
    while b"/one" not in (log := http2_server.log.read_bytes()[before:]):
        assert time.monotonic() < ends
        time.sleep(0.05)
    lines = log.decode().splitlines()
    assert all(line.isprintable() and line.count('"') == 2 for line in lines)
    assert not [line for line in lines if "forged" in line]
    assert len([line for line in lines if '"GET /one%22%0A%1B%5B31m%5C%22 2" 404' in line]) == 1


def test_one_connection_serves_thousands_of_requests(client: Client) -> None:
    for stream in range(1, 2401, 2):
        client.ask(stream)
        if stream % 99 == 0:
            client.read_until(lambda stream=stream: stream in client.statuses)  # type: ignore[misc]
    client.read_until(lambda: len(client.statuses) == 1200)
    assert set(client.statuses.values()) == {200}
