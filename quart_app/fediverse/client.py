"""The HTTP client for other servers, with the libraries that it needs.

Importing this module loads httpx2, Authlib and what these need: a fifth of a second of a processor.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx2

from quart_app.fediverse import accounts, recognition
from quart_app.fediverse.answers import https_url
from quart_app.fediverse.errors import ServerError, ServerTooSlow
from quart_app.fediverse.guarded_connections import (
    Destinations,
    GuardedBackend,
    trusted_certificates,
)
from quart_app.fediverse.guarded_transport import MOST_BYTES_EXTENSION, GuardedTransport
from quart_app.fediverse.names_to_addresses import Resolve, SystemResolver
from quart_app.fediverse.oauth import OAuth
from quart_app.fediverse.pictures import picture_type
from quart_app.fediverse.public_addresses import IPNetwork
from quart_app.fediverse.requests import HEADERS, Requests
from quart_app.fediverse.types import Avatar, Instance, RemoteAccount, Timeouts

LARGEST_AVATAR_BYTES: Final = 256 * 1024


class Client:
    """The requests of `Fediverse`, on one guarded transport. `oauth` has those for OAuth."""

    def __init__(
        self,
        *,
        allowed_private_networks: Sequence[IPNetwork],
        allowed_private_ports: Sequence[range],
        extra_ca_file: Path | None,
        resolve: Resolve | None,
        timeouts: Timeouts,
    ) -> None:
        self._resolver = SystemResolver()
        self._timeouts = timeouts
        self._transport = GuardedTransport(
            backend=GuardedBackend(
                Destinations(allowed_private_networks, allowed_private_ports),
                resolve or self._resolver,
            ),
            ssl_context=trusted_certificates(extra_ca_file),
            timeouts=timeouts,
        )
        self._requests = Requests(self._transport)
        self.oauth = OAuth(self._transport)

    async def close(self) -> None:
        """Close the connections that are kept open."""
        await self._transport.aclose()
        self._resolver.close()

    async def recognize(self, host: str) -> Instance:
        """Return what is at `host`, as `Fediverse.recognize` says."""
        try:
            async with asyncio.timeout(self._timeouts.total.total_seconds()):
                return await recognition.recognize(self._requests, host)
        except TimeoutError:
            raise ServerTooSlow(host) from None

    async def verify_credentials(self, host: str, access_token: str) -> RemoteAccount:
        """Return the account that a token belongs to. Raises TokenRefused."""
        return await accounts.verify_credentials(self._requests, host, access_token)

    async def avatar(self, url: str) -> Avatar | None:
        """Return the picture at an https address, as `Fediverse.avatar` says."""
        if https_url(url) is None:
            return None
        request = httpx2.Request(
            "GET",
            url,
            headers={**HEADERS, "Accept": "image/webp, image/png, image/jpeg, image/gif"},
            extensions={MOST_BYTES_EXTENSION: LARGEST_AVATAR_BYTES},
        )
        try:
            response = await self._transport.handle_async_request(request)
        except ServerError:
            return None
        content_type = picture_type(response.content) if response.is_success else None
        return Avatar(content_type, response.content) if content_type else None
