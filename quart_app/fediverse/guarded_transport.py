"""The only way out: every request to another server passes this transport.

It takes https to permitted destinations, follows no redirect, knows no proxy and no cookie, and
hands over answers that are complete, small and in time.
"""

import asyncio
import ssl
from collections.abc import AsyncIterable, AsyncIterator
from typing import Final

import httpcore2
import httpx2

from quart_app.fediverse.errors import (
    ServerBusy,
    ServerNotSupported,
    ServerTooSlow,
    ServerUnreachable,
)
from quart_app.fediverse.server_names import server_in
from quart_app.fediverse.server_slots import ServerSlots
from quart_app.fediverse.types import Timeouts

MOST_BYTES: Final = 64 * 1024
MOST_BYTES_EXTENSION: Final = "most_bytes"  # of a request whose answer may have another size
_MOST_CONNECTIONS: Final = 100
_MOST_IDLE_CONNECTIONS: Final = 20
_IDLE_SECONDS: Final = 15
_POOL_RETRY_SECONDS: Final = 30
_ENCODINGS: Final = {"", "identity", "gzip", "deflate"}
# The rest of an answer's headers is for browsers and caches.
_KEPT_HEADERS: Final = ("content-type", "location", "retry-after")


class GuardedTransport(httpx2.AsyncBaseTransport):
    """A transport for httpx2 whose answers are read already. Raises this package's errors."""

    def __init__(
        self,
        *,
        backend: httpcore2.AsyncNetworkBackend,
        ssl_context: ssl.SSLContext,
        timeouts: Timeouts,
    ) -> None:
        self._timeouts = timeouts
        self._slots = ServerSlots(timeouts.connect)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context,
            network_backend=backend,
            max_connections=_MOST_CONNECTIONS,
            max_keepalive_connections=_MOST_IDLE_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the complete answer, whatever its status. Raises ServerError's subclasses."""
        try:
            server = server_in(request.url)
        except ValueError:
            raise ServerUnreachable(request.url.host) from None
        try:
            async with (
                asyncio.timeout(self._timeouts.total.total_seconds()),
                self._slots.slot(server),
            ):
                return await self._answer(request, server)
        except httpcore2.PoolTimeout:
            raise ServerBusy(server, retry_after_seconds=_POOL_RETRY_SECONDS) from None
        except (TimeoutError, httpcore2.TimeoutException):
            raise ServerTooSlow(server) from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpx2.DecodingError) as error:
            raise ServerUnreachable(server, _certificate_sentence(error)) from None

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def _answer(self, request: httpx2.Request, server: str) -> httpx2.Response:
        connect, total = (
            limit.total_seconds() for limit in (self._timeouts.connect, self._timeouts.total)
        )
        raw = await self._pool.handle_async_request(
            httpcore2.Request(
                method=request.method,
                url=httpcore2.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions={
                    "timeout": {"connect": connect, "read": total, "write": total, "pool": connect}
                },
            )
        )
        response = httpx2.Response(raw.status, headers=raw.headers, stream=_Stream(raw))
        try:
            body = await _body(
                response, server, request.extensions.get(MOST_BYTES_EXTENSION, MOST_BYTES)
            )
        finally:
            await response.aclose()
        # As bytes: httpx2 reads values that are not ASCII, but can't write them.
        kept = [
            (name, value)
            for name, value in response.headers.raw
            if name.decode("latin-1").lower() in _KEPT_HEADERS
        ]
        return httpx2.Response(raw.status, headers=kept, content=body, request=request)


class _Stream(httpx2.AsyncByteStream):
    """A body as httpcore reads it."""

    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._response.stream, AsyncIterable)  # noqa: S101 of an async pool
        async for part in self._response.stream:
            yield part

    async def aclose(self) -> None:
        await self._response.aclose()


async def _body(response: httpx2.Response, server: str, most_bytes: int) -> bytes:
    """Return the decompressed body. Raises ServerNotSupported as soon as it is too long."""
    if response.headers.get("content-encoding", "").strip().lower() not in _ENCODINGS:
        raise ServerNotSupported(server)
    body = bytearray()
    # httpx2 decompresses in pieces of at most 1 MiB, so a bomb ends in the first of them.
    async for part in response.aiter_bytes():
        body += part
        if len(body) > most_bytes:
            raise ServerNotSupported(server)
    return bytes(body)


def _certificate_sentence(error: Exception) -> str | None:
    """Return a sentence for a certificate that does not fit; None for any other error."""
    if "CERTIFICATE_VERIFY_FAILED" not in str(error):
        return None
    return "{host} has no valid certificate for that name. Check its address."
