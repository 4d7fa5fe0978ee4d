"""Clients that send requests until they are stopped, and count the requests that get no answer.

They do as RFC 9112 and RFC 9113 allow a client to do, and never send a request a second time where
that could carry it out twice. So each request that a server loses is counted.
"""

import asyncio
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import h2.config
import h2.connection
import h2.events

Fields = tuple[tuple[str, str], ...]
_PATIENCE_SECONDS: Final = 20
_PAUSE_SECONDS: Final = 0.1  # after a failure
_GOAWAY: Final = 7
_CONCURRENT: Final = 4  # requests on one connection of HTTP/2


@dataclass(frozen=True)
class Request:
    """A request that each client sends again and again."""

    method: str
    path: str
    fields: Fields = ()
    body: bytes = b""


@dataclass
class Load:
    """Requests to one port, and what became of them."""

    port: int
    requests: tuple[Request, ...]
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    is_over: bool = False

    async def repeat(self, send: Callable[[Request], Awaitable[int]]) -> None:
        """Send the requests in turn until the load is over."""
        while not self.is_over:
            for request in self.requests:
                try:
                    async with asyncio.timeout(_PATIENCE_SECONDS):
                        status = await send(request)
                except (OSError, EOFError, TimeoutError) as error:
                    self.failures[f"{request.method}: {error!r}"] += 1
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                if 200 <= status < 300:
                    self.answered += 1
                else:
                    self.failures[f"{request.method}: {status}"] += 1
                    await asyncio.sleep(_PAUSE_SECONDS)


class Http1Client:
    """HTTP/1.1, on a new connection for each request, or on a kept one."""

    def __init__(self, port: int, *, keeps: bool) -> None:
        self._port, self._keeps = port, keeps
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: Request) -> int:
        """Return the status of the answer. Raises OSError or EOFError if there is none."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        is_kept = False
        try:
            writer.write(_written(request, keeps=self._keeps))
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await _skip_body(reader, head)
            is_kept = self._keeps and "\r\nconnection: close" not in head
        finally:
            if not is_kept:
                self.close()
        return int(head.split(" ")[1])

    def close(self) -> None:
        """Close the connection that is kept."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _written(request: Request, *, keeps: bool) -> bytes:
    fields = [("Host", "localhost"), *request.fields]
    if request.method == "POST":
        fields.append(("Content-Length", str(len(request.body))))
    if not keeps:
        fields.append(("Connection", "close"))
    lines = [f"{request.method} {request.path} HTTP/1.1", *(f"{n}: {v}" for n, v in fields)]
    return "\r\n".join([*lines, "", ""]).encode() + request.body


async def _skip_body(reader: asyncio.StreamReader, head: str) -> None:
    if " 204 " in head.partition("\r\n")[0]:
        return
    for line in head.split("\r\n"):
        name, _, value = line.partition(": ")
        if name == "content-length":
            await reader.readexactly(int(value))
            return
        if name == "transfer-encoding":
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
            return
    raise EOFError("the answer's length is unknown")


class Http2Client:
    """HTTP/2 without TLS. After a GOAWAY, it opens another connection for its next requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connections: list[_Http2Connection] = []
        self._opening = asyncio.Lock()

    async def send(self, request: Request) -> int:
        """Return the status of the answer. Raises OSError or EOFError if there is none."""
        while True:
            async with self._opening:
                if not self._connections or self._connections[-1].is_leaving:
                    connection = _Http2Connection()
                    await connection.open(self._port)
                    self._connections.append(connection)
                connection = self._connections[-1]
            with suppress(_NotProcessed):
                return await connection.send(request)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.close()


class _NotProcessed(Exception):  # noqa: N818 named for the fact
    """The server says that it has not processed the request (RFC 9113 section 8.7)."""


class _Http2Connection:
    def __init__(self) -> None:
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration())
        self._statuses: dict[int, int] = {}
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self.is_leaving = False

    async def open(self, port: int) -> None:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        self._h2.initiate_connection()
        self._flush()
        self._reading = asyncio.create_task(self._read(reader))

    async def send(self, request: Request) -> int:
        if self._h2.open_outbound_streams >= self._h2.remote_settings.max_concurrent_streams:
            self.is_leaving = True  # Hypercorn allows 0 streams when it stops
            raise _NotProcessed
        stream_id = self._h2.get_next_available_stream_id()
        head = [
            *((":method", request.method), (":scheme", "http"), (":authority", "localhost")),
            *((":path", request.path), *((name.lower(), value) for name, value in request.fields)),
        ]
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[stream_id] = answer
        self._h2.send_headers(stream_id, head, end_stream=request.method != "POST")
        if request.method == "POST":
            self._h2.send_data(stream_id, request.body, end_stream=True)
        self._flush()
        try:
            return await answer
        finally:
            self._waiting.pop(stream_id, None)

    def close(self) -> None:
        self._reading.cancel()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())

    async def _read(self, reader: asyncio.StreamReader) -> None:
        error: Exception = EOFError("the connection ended")
        try:
            while self._waiting or not self.is_leaving:
                head = await reader.readexactly(9)
                frame = head + await reader.readexactly(int.from_bytes(head[:3], "big"))
                if frame[3] == _GOAWAY:  # to h2 on this side, it is the end of all streams
                    self._go_away(*struct.unpack(">II", frame[9:17]))
                    continue
                for event in self._h2.receive_data(frame):
                    self._handle(event)
                self._flush()
        except (OSError, EOFError, h2.exceptions.ProtocolError) as failure:
            error = EOFError(f"the connection ended: {failure!r}")
        finally:
            self.is_leaving = True
            self._writer.close()
        for stream_id in list(self._waiting):
            self._fail(stream_id, error)

    def _go_away(self, last_stream_id: int, _code: int) -> None:
        self.is_leaving = True
        for stream_id in [each for each in self._waiting if each > last_stream_id]:
            self._fail(stream_id, _NotProcessed())

    def _fail(self, stream_id: int, error: Exception) -> None:
        answer = self._waiting.pop(stream_id, None)
        if answer is not None and not answer.done():  # the client has lost patience
            answer.set_exception(error)

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self._statuses[event.stream_id] = int(dict(event.headers)[b":status"])
        elif isinstance(event, h2.events.DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            answer = self._waiting.pop(event.stream_id, None)
            if answer is not None and not answer.done():
                answer.set_result(self._statuses.pop(event.stream_id))
        elif isinstance(event, h2.events.StreamReset):
            is_refused = event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
            error = _NotProcessed() if is_refused else EOFError(f"reset: {event.error_code!r}")
            self._fail(event.stream_id, error)


async def run_http1(load: Load, *, kept: int, new: int) -> None:
    """Use the port with this many clients on kept connections, and on new ones."""
    clients = [Http1Client(load.port, keeps=number < kept) for number in range(kept + new)]
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(load.repeat(client.send))
    for client in clients:
        client.close()


async def run_http2(load: Load, *, connections: int) -> None:
    """Use the port with this many connections of HTTP/2, each with several requests at a time."""
    clients = [Http2Client(load.port) for _ in range(connections)]
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            for _ in range(_CONCURRENT):
                tasks.create_task(load.repeat(client.send))
    for client in clients:
        client.close()
