"""Everything that this application asks of other servers."""

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
from quart_app.fediverse.guarded_transport import (
    MOST_BYTES_EXTENSION,
    GuardedTransport,
    Timeouts,
)
from quart_app.fediverse.names_to_addresses import Resolve, SystemResolver
from quart_app.fediverse.oauth import OAuth
from quart_app.fediverse.pictures import picture_type
from quart_app.fediverse.public_addresses import IPNetwork
from quart_app.fediverse.requests import HEADERS, Requests
from quart_app.fediverse.types import App, Avatar, Grant, Instance, RemoteAccount

LARGEST_AVATAR_BYTES: Final = 256 * 1024


class Fediverse:
    """The requests to Fediverse servers. Every method raises ServerError's subclasses.

    Connections go to public addresses at port 443, and to `allowed_private_networks` there and at
    `allowed_private_ports`. `extra_ca_file` holds certificates (PEM) to trust beside the system's.
    `resolve` and `timeouts` are for tests.
    """

    def __init__(
        self,
        *,
        allowed_private_networks: Sequence[IPNetwork] = (),
        allowed_private_ports: Sequence[range] = (),
        extra_ca_file: Path | None = None,
        resolve: Resolve | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 it is frozen
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
        self._oauth = OAuth(self._transport)

    async def close(self) -> None:
        """Close the connections that are kept open."""
        await self._transport.aclose()
        self._resolver.close()

    async def recognize(self, host: str) -> Instance:
        """Return what is at `host`: a name, or `name:port` where that port is allowed.

        Raises ServerNotSupported where nothing there has Mastodon's API, and ServerMoved.
        """
        try:
            async with asyncio.timeout(self._timeouts.total.total_seconds()):
                return await recognition.recognize(self._requests, host)
        except TimeoutError:
            raise ServerTooSlow(host) from None

    async def register_app(
        self, instance: Instance, *, name: str, website: str, redirect_uri: str, scope: str
    ) -> App:
        """Register this application. Raises InvalidScope where the server refuses the form."""
        return await self._oauth.register_app(
            instance, name=name, website=website, redirect_uri=redirect_uri, scope=scope
        )

    async def knows_app(self, instance: Instance, app: App, *, scope: str | None = None) -> bool:
        """Return whether the server still knows the app; `scope` is the one it registered."""
        return await self._oauth.knows_app(instance, app, scope)

    def authorization_url(
        self,
        instance: Instance,
        app: App,
        *,
        redirect_uri: str,
        scope: str,
        state: str,
        code_verifier: str,
        language: str | None = None,
    ) -> str:
        """Return the address to open in the user's browser; the server always asks who it is."""
        return self._oauth.authorization_url(
            instance,
            app,
            redirect_uri=redirect_uri,
            scope=scope,
            state=state,
            code_verifier=code_verifier,
            language=language,
        )

    async def exchange_code(
        self, instance: Instance, app: App, *, code: str, redirect_uri: str, code_verifier: str
    ) -> Grant:
        """Return the tokens for a code. Raises CodeRefused, AppRefused and InvalidScope."""
        return await self._oauth.exchange_code(
            instance, app, code=code, redirect_uri=redirect_uri, code_verifier=code_verifier
        )

    async def refresh(self, instance: Instance, app: App, refresh_token: str) -> Grant:
        """Return new tokens. Raises TokenRefused and AppRefused."""
        return await self._oauth.refresh(instance, app, refresh_token)

    async def revoke(self, instance: Instance, app: App, token: str) -> bool:
        """Return whether the server accepts the revocation, as it should for any token."""
        return await self._oauth.revoke(instance, app, token)

    async def verify_credentials(self, host: str, access_token: str) -> RemoteAccount:
        """Return the account that a token belongs to. Raises TokenRefused."""
        return await accounts.verify_credentials(self._requests, host, access_token)

    async def avatar(self, url: str) -> Avatar | None:
        """Return the picture at an https address; None where there is none that is harmless."""
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
