"""Remove a connection, and revoke its access at the server where that is safe."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from quart_app.errors import InUse
from quart_app.fediverse.types import App
from quart_app.instances import server_of
from quart_app.model import AuditEvent, PlatformConnection
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.services.platforms.access_revocation import Revocation
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.steps.access_revoking import AccessRevoking, GrantedAccess
from quart_app.services.platforms.steps.owners import active_user, own_connection
from quart_app.storage import platforms as stored
from quart_app.storage.changes import add_change
from quart_app.storage.database import Database


@dataclass(frozen=True, kw_only=True)
class Removed:
    """The server of a connection that was removed, and whether the access ended there."""

    host: str
    revocation: Revocation


@dataclass(frozen=True, kw_only=True)
class Removal:
    """Removes connections. The database comes first: a server in trouble keeps nobody from it."""

    database: Database
    credentials: Credentials
    revoking: AccessRevoking
    audit: AuditWriter
    now: Callable[[], datetime]

    @shielded
    async def remove(self, caller: Caller, platform_connection_id: int) -> Removed:
        """Delete a connection and its credentials, then revoke the access at its server.

        Raises NotFound, and InUse if other tables refer to it.
        """
        async with self.database.begin() as db:
            await active_user(db, caller, lock=True)
            connection = await own_connection(db, self.audit, caller, platform_connection_id)
            host, access = server_of(connection.instance_url), self._access(connection)
            if not await stored.delete_connection(db, connection):
                raise InUse
            await self.audit.record(
                db,
                AuditEvent.PLATFORM_REMOVED,
                caller,
                user_id=caller.user_id,
                detail={"platform_connection_id": platform_connection_id},
            )
            await add_change(db, caller.user_id, at=self.now())
        if access is None:
            return Removed(host=host, revocation=Revocation.NOT_OURS)
        return Removed(host=host, revocation=await self.revoking.revoke(access))

    def _access(self, connection: PlatformConnection) -> GrantedAccess | None:
        """Return the access to revoke; None if it is not ours."""
        account = connection.account
        if account is None or account.software is None:
            return None
        client_id, client_secret, token = (
            self.credentials.unseal(str(sealed or ""))
            for sealed in (
                connection.client_key,
                connection.client_secret,
                connection.access_token,
            )
        )
        if client_id is None or client_secret is None or token is None:
            return None
        return GrantedAccess(
            host=server_of(connection.instance_url),
            account_id=account.account_id or "",
            app=App(client_id, client_secret),
            token=token,
        )
