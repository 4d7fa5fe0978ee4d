"""Everything that this application asks of other servers.

The client and its libraries are loaded at the first request: many processes never make one, and
the libraries and the system's certificates would take a fifth of the time of each start.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quart_app.fediverse.names_to_addresses import Resolve
from quart_app.fediverse.public_addresses import IPNetwork
from quart_app.fediverse.types import App, Avatar, Grant, Instance, RemoteAccount, Timeouts

if TYPE_CHECKING:
    from quart_app.fediverse.client import Client
    from quart_app.fediverse.oauth import OAuth


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
        self._new_client = partial(
            _new_client,
            allowed_private_networks=allowed_private_networks,
            allowed_private_ports=allowed_private_ports,
            extra_ca_file=extra_ca_file,
            resolve=resolve,
            timeouts=timeouts,
        )
        self._loading = asyncio.Lock()
        self._loaded: Client | None = None

    async def close(self) -> None:
        """Close the connections that are kept open."""
        if self._loaded is not None:
            await self._loaded.close()

    async def recognize(self, host: str) -> Instance:
        """Return what is at `host`: a name, or `name:port` where that port is allowed.

        Raises ServerNotSupported where nothing there has Mastodon's API, and ServerMoved.
        """
        return await (await self._client()).recognize(host)

    async def register_app(
        self, instance: Instance, *, name: str, website: str, redirect_uri: str, scope: str
    ) -> App:
        """Register this application. Raises InvalidScope where the server refuses the form."""
        return await (await self._oauth()).register_app(
            instance, name=name, website=website, redirect_uri=redirect_uri, scope=scope
        )

    async def knows_app(self, instance: Instance, app: App, *, scope: str | None = None) -> bool:
        """Return whether the server still knows the app; `scope` is the one it registered."""
        return await (await self._oauth()).knows_app(instance, app, scope)

    async def authorization_url(
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
        return (await self._oauth()).authorization_url(
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
        return await (await self._oauth()).exchange_code(
            instance, app, code=code, redirect_uri=redirect_uri, code_verifier=code_verifier
        )

    async def refresh(self, instance: Instance, app: App, refresh_token: str) -> Grant:
        """Return new tokens. Raises TokenRefused and AppRefused."""
        return await (await self._oauth()).refresh(instance, app, refresh_token)

    async def revoke(self, instance: Instance, app: App, token: str) -> bool:
        """Return whether the server accepts the revocation, as it should for any token."""
        return await (await self._oauth()).revoke(instance, app, token)

    async def verify_credentials(self, host: str, access_token: str) -> RemoteAccount:
        """Return the account that a token belongs to. Raises TokenRefused."""
        return await (await self._client()).verify_credentials(host, access_token)

    async def avatar(self, url: str) -> Avatar | None:
        """Return the picture at an https address; None where there is none that is harmless."""
        return await (await self._client()).avatar(url)

    async def _oauth(self) -> "OAuth":
        return (await self._client()).oauth

    async def _client(self) -> "Client":
        """Return the client. It is loaded in a thread, because other requests must not wait."""
        async with self._loading:
            if self._loaded is None:
                self._loaded = await asyncio.to_thread(self._new_client)
            return self._loaded


def _new_client(**options: Any) -> "Client":
    from quart_app.fediverse.client import Client  # noqa: PLC0415 see the docstring of this module

    return Client(**options)
