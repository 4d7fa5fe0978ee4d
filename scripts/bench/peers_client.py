"""The client of `scripts/bench/peers.py`: cheap, with kept connections, the same for each peer."""

import asyncio
import gc
import http.client
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_BROWSER = """\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r
Accept-Language: en-GB,en;q=0.5\r
Accept-Encoding: gzip, deflate, br, zstd\r
Sec-Fetch-Site: same-origin\r
"""
_UNCOUNTED_SECONDS = 0.15  # at the start of each round: the core has just run another server
_TIMEOUT_SECONDS = 60.0
_EXPECTED = (b"200", b"204")
_CONTENT_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


@dataclass
class Browser:
    """A logged-in browser: its server's port, and its cookies by name."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: str = "") -> int:
        """Send one request on a connection of its own, keep the cookies, return the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_TIMEOUT_SECONDS)
        headers = {"Content-Type": "application/json"} if body else {}
        if self.cookies:
            headers["Cookie"] = self._cookie_header()
        try:
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            response.read()
        finally:
            connection.close()
        for name, value in response.getheaders():
            if name.lower() == "set-cookie":
                self.keep(value)
        return response.status

    def keep(self, set_cookie: str) -> None:
        """Store a cookie. One that the server deletes stays, with the value that it then has."""
        name, _, value = set_cookie.partition(";")[0].partition("=")
        self.cookies[name.strip()] = value

    def copy(self) -> "Browser":
        """Return a browser with copies of these cookies, as a thief has them."""
        return Browser(self.port, dict(self.cookies))

    def request(self, path: str) -> bytes:
        """Return the bytes of a GET request on a kept connection."""
        return (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{_BROWSER}"
            f"Cookie: {self._cookie_header()}\r\n\r\n"
        ).encode()

    def _cookie_header(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())


@dataclass
class Round:
    """The measurements of one round. `waits` has the time until each answer, in seconds."""

    seconds: float = 0.0
    processor_seconds: float = 0.0
    client_seconds: float = 0.0
    waits: list[float] = field(default_factory=list)

    @property
    def requests_per_second(self) -> float:
        """Return the rate of answers."""
        return len(self.waits) / self.seconds

    @property
    def processor_seconds_per_request(self) -> float:
        """Return the processor time of the server, with its database, for an answer."""
        return self.processor_seconds / len(self.waits)


class UnexpectedAnswerError(Exception):
    """A server answered something else than 200 or 204, or closed a connection in between."""


async def measure(
    browser: Browser,
    path: str,
    *,
    connections: int,
    seconds: float,
    processor_seconds: Callable[[], float],
) -> Round:
    """Ask for `path` on each connection, and again as soon as the answer is there.

    `processor_seconds` says how much the server has used so far. Raises UnexpectedAnswerError or
    OSError.
    """
    load = _Load(browser, path)
    gc.collect()
    gc.disable()
    try:
        await load.connect(connections)
        await load.wait(_UNCOUNTED_SECONDS)
        used, client_used, began = processor_seconds(), time.process_time(), time.perf_counter()
        load.is_counting = True
        await load.wait(seconds)
        while not load.waits:  # a very short round, or a very busy machine
            await load.wait(seconds)
        load.is_counting = False
        return Round(
            seconds=time.perf_counter() - began,
            processor_seconds=processor_seconds() - used,
            client_seconds=time.process_time() - client_used,
            waits=load.waits,
        )
    finally:
        load.close()
        gc.enable()


class _Load:
    """The request and the results that the connections of a round share."""

    def __init__(self, browser: Browser, path: str) -> None:
        self._browser, self._path = browser, path
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.request = browser.request(path)
        self.is_counting = False
        self._is_over = False
        self._opened: list[asyncio.Transport] = []
        self.waits: list[float] = []

    async def connect(self, connections: int) -> None:
        """Open connections, which begin to ask at once."""
        loop, port = asyncio.get_running_loop(), self._browser.port
        for _ in range(connections):
            opened, _ = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port)
            self._opened.append(opened)

    def close(self) -> None:
        """Close the connections, without waiting for their answers."""
        self._is_over = True
        for each in self._opened:
            each.abort()

    async def wait(self, seconds: float) -> None:
        """Wait; raise what fails meanwhile."""
        await asyncio.wait([self._failure], timeout=seconds)
        if self._failure.done():
            self._failure.result()

    def fail(self, reason: str) -> None:
        """End the round."""
        if not self._is_over and not self._failure.done():
            self._failure.set_exception(UnexpectedAnswerError(f"{self._path}: {reason}"))

    def answered(self, head: bytes, wait: float) -> None:
        """Count an answer, and keep its cookies for the next requests."""
        if self.is_counting:
            self.waits.append(wait)
        if b"\r\nset-cookie: " in head.lower():
            for line in head.decode().split("\r\n"):
                name, _, value = line.partition(": ")
                if name.lower() == "set-cookie":
                    self._browser.keep(value)
            self.request = self._browser.request(self._path)


class _Connection(asyncio.Protocol):
    """A kept connection, with one request at a time."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._received = b""
        self._asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 for mypy
        self._transport = transport
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        self._load.fail("the server closed the connection")

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        if head[9:12] not in _EXPECTED:
            self._load.fail(f"unexpected answer {head[9:12].decode(errors='replace')}")
            return
        self._received = b""
        self._load.answered(head, time.perf_counter() - self._asked)
        self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._load.request)


def _length(head: bytes) -> int:
    """Return the length of the body that follows."""
    found = _CONTENT_LENGTH.search(head)
    return int(found[1]) if found else 0
