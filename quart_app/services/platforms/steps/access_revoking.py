"""Revoke access that a server granted to this application, unless something here still uses it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from quart_app.errors import Unavailable
from quart_app.fediverse.errors import ServerError
from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.types import App
from quart_app.services.platforms.access_revocation import Revocation
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.steps.instance_directory import InstanceDirectory
from quart_app.storage import platform_accounts as stored_accounts
from quart_app.storage.database import Database


@dataclass(frozen=True, kw_only=True)
class GrantedAccess:
    """The access to an account, and the app that it was granted to."""

    host: str
    account_id: str
    app: App
    token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class AccessRevoking:
    """Revokes access tokens (RFC 7009).

    The app is either shared by software that revokes single tokens, or was registered for this
    access alone. So no other token ends with it. But Mastodon gives an account's users one token
    for the same app and scopes (Doorkeeper's `reuse_access_token`), and it ends for all of them.
    """

    database: Database
    fediverse: Fediverse
    directory: InstanceDirectory
    credentials: Credentials
    now: Callable[[], datetime]

    async def revoke(self, access: GrantedAccess) -> Revocation:
        """Revoke an access whose row the caller has deleted, and say what came of it.

        The row goes first: if two users remove the same access at once, the later finds no other.
        """
        try:
            if await self._is_in_use(access):
                return Revocation.IN_USE
            instance = await self.directory.instance_at(access.host)
            is_done = await self.fediverse.revoke(instance, access.app, access.token)
        except (ServerError, Unavailable):
            return Revocation.FAILED
        return Revocation.DONE if is_done else Revocation.FAILED

    async def _is_in_use(self, access: GrantedAccess) -> bool:
        async with self.database.read() as db:
            tokens = await stored_accounts.access_tokens_of_account(
                db, access.host, access.account_id, now=self.now()
            )
        return any(self.credentials.unseal(token) == access.token for token in tokens)
