"""Everything that this application asks of other servers."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from quart_app.fediverse.types import App, Avatar, Grant, Instance, RemoteAccount


class Fediverse:
    """The requests to Fediverse servers. Every method raises the errors of `fediverse.errors`."""

    def __init__(
        self,
        *,
        allowed_private_networks: Sequence[IPv4Network | IPv6Network] = (),
        allowed_private_ports: Sequence[range] = (),
        extra_ca_file: Path | None = None,
    ) -> None: ...

    async def close(self) -> None:
        """Close the connections that are kept open."""
        raise NotImplementedError

    async def recognise(self, host: str) -> Instance:
        """Return what is at `host`: a name, or `name:port` where that port is allowed."""
        raise NotImplementedError

    async def register_app(
        self, instance: Instance, *, name: str, website: str, redirect_uri: str, scope: str
    ) -> App:
        """Register this application. Raises InvalidScope where the server refuses the form."""
        raise NotImplementedError

    async def knows_app(self, instance: Instance, app: App, *, scope: str | None = None) -> bool:
        """Return whether the server still knows the app; `scope` is the one it registered."""
        raise NotImplementedError

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
        """Return the address to open in the user's browser."""
        raise NotImplementedError

    async def exchange_code(
        self, instance: Instance, app: App, *, code: str, redirect_uri: str, code_verifier: str
    ) -> Grant:
        """Return the tokens for a code. Raises CodeRefused, AppRefused and InvalidScope."""
        raise NotImplementedError

    async def refresh(self, instance: Instance, app: App, refresh_token: str) -> Grant:
        """Return new tokens. Raises TokenRefused and AppRefused."""
        raise NotImplementedError

    async def revoke(self, instance: Instance, app: App, token: str) -> bool:
        """Return whether the server says that the token is revoked."""
        raise NotImplementedError

    async def verify_credentials(self, host: str, access_token: str) -> RemoteAccount:
        """Return the account that a token belongs to. Raises TokenRefused."""
        raise NotImplementedError

    async def avatar(self, url: str) -> Avatar | None:
        """Return the picture at an https address; None where there is none that is harmless."""
        raise NotImplementedError
