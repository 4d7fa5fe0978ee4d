"""Renew access tokens ahead of their expiry, where the server issued a refresh token."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from quart_app.fediverse.errors import ServerError
from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.types import App, Grant
from quart_app.instances import server_of
from quart_app.model import PlatformAccount
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.steps.instance_directory import InstanceDirectory
from quart_app.storage import platform_accounts as stored_accounts
from quart_app.storage import platforms as stored
from quart_app.storage.database import Database

# Longer than the time between two checks of an account that works.
REFRESHED_BEFORE: Final = timedelta(hours=36)
# Longer than a request to a server takes: after it, the process that began has died.
_UNDER_WAY_FOR: Final = timedelta(seconds=30)
_POLL_SECONDS: Final = 0.2


class _UnderWay(Exception):  # noqa: N818 named for the fact
    """Another request for a new access token of the connection has not ended."""


@dataclass(frozen=True, kw_only=True)
class _Due:
    """The secrets for one request, open only until it is answered."""

    host: str
    app: App
    refresh_token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class TokenRefreshing:
    """Renews the access token of a connection (RFC 6749, section 6)."""

    database: Database
    fediverse: Fediverse
    directory: InstanceDirectory
    credentials: Credentials
    now: Callable[[], datetime]

    async def refresh_if_due(self, platform_connection_id: int) -> None:
        """Replace the access token of a connection if it expires soon.

        The caller must not be cancelled in the middle: servers accept a refresh token once. If the
        server refuses, the access token stays as it is, and serves as long as it does.
        """
        try:
            due = await self._begin(platform_connection_id)
        except _UnderWay:
            await self._other_end(platform_connection_id)
            return
        if due is None:
            return
        grant = None
        try:
            instance = await self.directory.instance_at(due.host)
            grant = await self.fediverse.refresh(instance, due.app, due.refresh_token)
        except ServerError:  # the check that follows finds out whether the old token still serves
            pass
        finally:
            await self._finish(platform_connection_id, due, grant)

    async def _other_end(self, platform_connection_id: int) -> None:
        """Wait for the request that is under way: until it ends, the access token may be void."""
        is_under_way = True
        while is_under_way:
            await asyncio.sleep(_POLL_SECONDS)
            async with self.database.read() as db:
                connection = await stored.connection_by_id(db, platform_connection_id)
            account = connection.account if connection is not None else None
            is_under_way = account is not None and self._is_under_way(account)

    def _is_under_way(self, account: PlatformAccount) -> bool:
        begun, now = account.refresh_began_at, self.now()
        return begun is not None and now - _UNDER_WAY_FOR < begun <= now

    async def _begin(self, platform_connection_id: int) -> _Due | None:
        """Return the secrets if it is time, and mark the request as under way. Raises _UnderWay."""
        now = self.now()
        async with self.database.begin() as db:
            connection = await stored.connection_by_id(db, platform_connection_id, lock=True)
            account = connection.account if connection is not None else None
            if connection is None or account is None or account.token_expires_at is None:
                return None
            if self._is_under_way(account):
                raise _UnderWay
            if account.token_expires_at - now > REFRESHED_BEFORE:
                return None
            unseal = self.credentials.unseal
            refresh_token = unseal(account.refresh_token or "")
            client_id = unseal(str(connection.client_key or ""))
            client_secret = unseal(str(connection.client_secret or ""))
            if refresh_token is None or client_id is None or client_secret is None:
                return None
            account.refresh_began_at = now
            return _Due(
                host=account.host or server_of(connection.instance_url),
                app=App(client_id, client_secret),
                refresh_token=refresh_token,
            )

    async def _finish(self, platform_connection_id: int, due: _Due, grant: Grant | None) -> None:
        async with self.database.begin() as db:
            connection = await stored.connection_by_id(db, platform_connection_id, lock=True)
            if connection is None:  # removed meanwhile
                return
            account = await stored_accounts.account_of(db, platform_connection_id)
            account.refresh_began_at = None
            # Another refresh token is that of a reconnection, whose tokens stay.
            used = self.credentials.unseal(account.refresh_token or "")
            if grant is None or used != due.refresh_token:
                return
            connection.access_token = self.credentials.seal(grant.access_token)
            if grant.refresh_token is not None:  # else the one that was used stays valid
                account.refresh_token = self.credentials.seal(grant.refresh_token)
            account.token_expires_at = (
                None if grant.expires_in is None else self.now() + grant.expires_in
            )
