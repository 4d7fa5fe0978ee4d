"""TCP connections to permitted addresses only; each is checked where it is connected to.

A name is resolved once per connection, and the connection goes to an address that was checked. So
a name server that gives another answer the second time (DNS rebinding) is never asked twice.
"""

import asyncio
import logging
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import httpcore2

from quart_app.fediverse.names_to_addresses import Resolve
from quart_app.fediverse.public_addresses import IPAddress, IPNetwork, is_public
from quart_app.fediverse.server_names import HTTPS_PORT

_PIECE_BYTES: Final = 4096
_MOST_BYTES_PER_ANSWER: Final = 512 * 1024  # with headers, more than the largest picture
_MOST_ATTEMPTS: Final = 4  # so that each of them has a fair part of the time

_logger = logging.getLogger(__name__)


@lru_cache(maxsize=8)  # reading the system's certificates takes 50 ms
def trusted_certificates(extra_ca_file: Path | None) -> ssl.SSLContext:
    """Return what verifies servers: the system's certificates, and those of a PEM file."""
    context = ssl.create_default_context()
    if extra_ca_file is not None:
        context.load_verify_locations(extra_ca_file)
    return context


@dataclass(frozen=True)
class Destinations:
    """Where connections may go: to public addresses at port 443.

    An operator may add networks, and for these networks further ports.
    """

    private_networks: Sequence[IPNetwork] = ()
    private_ports: Sequence[range] = ()

    def permit(self, address: IPAddress, port: int) -> bool:
        """Return whether a connection may go there."""
        if any(address in network for network in self.private_networks):
            return port == HTTPS_PORT or any(port in ports for ports in self.private_ports)
        return port == HTTPS_PORT and is_public(address)


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects by name, as httpcore asks for it, but only to permitted destinations."""

    def __init__(self, destinations: Destinations, resolve: Resolve) -> None:
        self._destinations = destinations
        self._resolve = resolve
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Return a connection to the first address of `host` that answers, for TLS only.

        The time is for the look-up, the connection and TLS together. Raises httpcore's errors.
        All addresses must be permitted: a public name that also leads to a private network is a
        mistake at best.
        """
        try:
            async with asyncio.timeout(timeout) as limit:
                addresses = await self._resolve(host)
                if not all(self._destinations.permit(each, port) for each in addresses):
                    _logger.warning("%s:%s leads to an address that is not permitted", host, port)
                    raise httpcore2.ConnectError("not permitted")
                stream = await self._connect(addresses[:_MOST_ATTEMPTS], port, timeout)
                return _BeforeTls(stream, limit.when())
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout from error
        except OSError as error:
            raise httpcore2.ConnectError("no such name") from error

    async def _connect(
        self, addresses: Sequence[IPAddress], port: int, seconds: float | None
    ) -> httpcore2.AsyncNetworkStream:
        failure: Exception = httpcore2.ConnectError("no address")
        share = seconds / len(addresses) if seconds and addresses else None
        for address in addresses:
            try:
                return await self._backend.connect_tcp(str(address), port, share)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class _BeforeTls(httpcore2.AsyncNetworkStream):
    """A connection that can only begin with TLS. Nothing can be read or written without it."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, deadline: float | None) -> None:
        self._stream = stream
        self._deadline = deadline  # by the loop's clock

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 httpcore's signature
    ) -> httpcore2.AsyncNetworkStream:
        """Return the connection with TLS. Raises httpcore's errors."""
        if self._deadline is not None:
            timeout = max(0, self._deadline - asyncio.get_running_loop().time())
        try:
            encrypted = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:  # httpcore 2.16 leaves it open when the task is cancelled
            await self._stream.aclose()
            raise
        return _InSmallPieces(encrypted)

    async def aclose(self) -> None:
        await self._stream.aclose()


class _InSmallPieces(httpcore2.AsyncNetworkStream):
    """A connection that is read in small pieces, and not without end.

    httpcore parses all that it has read before anything else runs. 64 KiB hold 2,600 answers
    "100 Continue", which would stop every request for 0.4 s, and be followed by as many again.
    """

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self._bytes_left = _MOST_BYTES_PER_ANSWER

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 httpcore's signature
    ) -> bytes:
        """Return the next piece. Raises ReadError when the answer is too long."""
        await asyncio.sleep(0)  # decrypted bytes may be waiting, and then nothing else waits
        piece = await self._stream.read(min(max_bytes, _PIECE_BYTES), timeout)
        self._bytes_left -= len(piece)
        if self._bytes_left < 0:
            raise httpcore2.ReadError("too long")
        return piece

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> None:
        """Send a part of a request, after which the next answer is counted."""
        self._bytes_left = _MOST_BYTES_PER_ANSWER
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks about the connection."""
        return self._stream.get_extra_info(info)
