"""Remove a connection, and revoke its access at the server where that is safe."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from quart_app.errors import InUse
from quart_app.fediverse.errors import ServerError
from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.types import App
from quart_app.instances import server_of
from quart_app.model import AuditEvent, PlatformConnection
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.steps.instance_directory import InstanceDirectory
from quart_app.services.platforms.steps.owners import active_user, own_connection
from quart_app.storage import platforms as stored
from quart_app.storage.changes import add_change
from quart_app.storage.database import Database


class Revocation(enum.Enum):
    """The end of the access at the server, when a connection was removed."""

    DONE = enum.auto()
    FAILED = enum.auto()  # the server did not confirm it
    # The access was not granted to this application by itself: a pasted token, or one of the older
    # application. Revoking it might end what something else uses.
    NOT_OURS = enum.auto()


@dataclass(frozen=True, kw_only=True)
class Removed:
    """The server of a connection that was removed, and whether the access ended there."""

    host: str
    revocation: Revocation


@dataclass(frozen=True, kw_only=True)
class Removal:
    """Removes connections. The database comes first: a server in trouble keeps nobody from it."""

    database: Database
    fediverse: Fediverse
    directory: InstanceDirectory
    credentials: Credentials
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
        return Removed(host=host, revocation=await self._revoke(host, access))

    def _access(self, connection: PlatformConnection) -> tuple[App, str] | None:
        """Return the app and the token to revoke; None if the access is not ours.

        The app is either shared by software that revokes single tokens, or was registered for this
        connection alone. So nothing else ends with it.
        """
        if connection.account is None or connection.account.software is None:
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
        return App(client_id, client_secret), token

    async def _revoke(self, host: str, access: tuple[App, str] | None) -> Revocation:
        if access is None:
            return Revocation.NOT_OURS
        try:
            instance = await self.directory.instance_at(host)
            is_done = await self.fediverse.revoke(instance, *access)
        except ServerError:
            return Revocation.FAILED
        return Revocation.DONE if is_done else Revocation.FAILED
