"""TLS servers on loopback that answer, byte for byte, what a test wants."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from standins.certificates import CertificateAuthority

from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.public_addresses import IPAddress
from quart_app.fediverse.types import Timeouts

NAME = "fedi.example"
LOOPBACK = IPv4Network("127.0.0.0/8")
SOON = Timeouts(connect=timedelta(seconds=1), total=timedelta(seconds=2))

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class TlsServer:
    """A running server: its address as `host`, and how many connections it has seen."""

    port: int
    connections: int = 0

    @property
    def host(self) -> str:
        return f"{NAME}:{self.port}"


@dataclass(frozen=True)
class Request:
    """A request as a server reads it."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: str

    @property
    def form(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self.body).items()}


@dataclass
class Answer:
    """An answer; `body` is sent as it is if it is bytes, else as JSON."""

    body: Any = None
    status: int = HTTPStatus.OK
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@asynccontextmanager
async def tls_server(
    authority: CertificateAuthority, handle: Handle, *, name: str = NAME
) -> AsyncIterator[TlsServer]:
    """Serve every connection by `handle`, with a certificate of `authority` for `name`."""
    context = authority.certificate(name).context()
    server = TlsServer(0)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            await handle(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass  # the client went away, or the test has ended
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Read one request with its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {
        name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, target, headers, body.decode())


def answering(answer: Callable[[Request], Answer]) -> Handle:
    """Return a handler that answers request after request on one connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            given = answer(await read_request(reader))
            body = given.body if isinstance(given.body, bytes) else json.dumps(given.body).encode()
            headers = {
                "Content-Type": given.content_type,
                "Content-Length": str(len(body)),
                **given.headers,
            }
            lines = [f"HTTP/1.1 {given.status} Status"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            await writer.drain()

    return handle


def routes(paths: Mapping[str, Answer], seen: list[Request] | None = None) -> Handle:
    """Return a handler with an answer for each path, and 404 in HTML for the others."""

    def answer(request: Request) -> Answer:
        if seen is not None:
            seen.append(request)
        missing = Answer(b"<h1>Not found</h1>", HTTPStatus.NOT_FOUND, "text/html")
        return paths.get(request.target.partition("?")[0], missing)

    return answering(answer)


def resolving(answers: Mapping[str, Sequence[str]]) -> Callable[[str], Awaitable[list[IPAddress]]]:
    """Return a resolver that knows these names only."""

    async def resolve(host: str) -> list[IPAddress]:
        await asyncio.sleep(0)
        if host not in answers:
            raise OSError("no such name")
        return [ip_address(address) for address in answers[host]]

    return resolve


@asynccontextmanager
async def client(ca_file: Path, **options: Any) -> AsyncIterator[Fediverse]:
    """Yield a client for servers on loopback, impatient unless `timeouts` say otherwise."""
    given: dict[str, Any] = {
        "allowed_private_networks": [LOOPBACK],
        "allowed_private_ports": [range(1, 2**16)],
        "resolve": resolving({NAME: ["127.0.0.1"]}),
        "timeouts": SOON,
        "extra_ca_file": ca_file,
        **options,
    }
    fediverse = Fediverse(**given)
    try:
        yield fediverse
    finally:
        await fediverse.close()
