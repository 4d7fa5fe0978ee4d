"""Connect an account by an access token that the user pastes, once its server accepts it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from quart_app.errors import AccountTaken, InvalidInput, NameTaken
from quart_app.fediverse.errors import TokenRefused
from quart_app.fediverse.fediverse import Fediverse
from quart_app.instances import is_same_account
from quart_app.model import AuditEvent, PlatformConnection, PlatformType
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.platform_fields import (
    checked_name,
    checked_server,
    checked_token,
)
from quart_app.services.platforms.steps.account_records import (
    existing_connection,
    free_name,
    give_up_username,
    keep_account,
    keep_avatar,
    platform_type_of,
)
from quart_app.services.platforms.steps.instance_directory import InstanceDirectory
from quart_app.services.platforms.steps.outbound_limit import OutboundLimit
from quart_app.services.platforms.steps.owners import active_user, refuse_one_too_many
from quart_app.services.platforms.steps.token_expiry import expiry_of
from quart_app.storage import platforms as stored
from quart_app.storage.changes import add_change
from quart_app.storage.database import Database
from quart_app.storage.encoding import refuse_unstorable


@dataclass(frozen=True, kw_only=True)
class PastedTokens:
    """Connections whose access token the user made in the server's own settings."""

    database: Database
    fediverse: Fediverse
    directory: InstanceDirectory
    credentials: Credentials
    audit: AuditWriter
    limit: OutboundLimit
    most_of_a_user: int
    now: Callable[[], datetime]

    async def connect(
        self,
        caller: Caller,
        *,
        instance_url: str,
        access_token: str,
        name: str | None = None,
        platform_type: PlatformType | None = None,
        username: str | None = None,
    ) -> tuple[PlatformConnection, bool]:
        """Look at the token's account, and store a connection to it.

        Without `name` the account's handle is its name; without `platform_type` the server says
        it. Return the connection, and whether it is the default. Raises InvalidInput, NameTaken,
        AccountTaken, TooManyPlatforms, TooManyOutbound, ServerError.
        """
        host = checked_server(instance_url, field="instance_url")
        token = checked_token(access_token)
        name = None if name is None else checked_name(name)
        self.limit.count(caller)
        instance = await self.directory.instance_at(host)
        try:
            account = await self.fediverse.verify_credentials(host, token)
        except TokenRefused:
            raise InvalidInput(
                f"{host} does not accept this access token. Copy it from the server's settings"
                " again, or make a new one there.",
                field="access_token",
            ) from None
        if username is not None and not is_same_account(host, username, account.username):
            raise InvalidInput(
                f"This access token belongs to @{account.username} at {host}.", field="username"
            )
        avatar = await self.fediverse.avatar(account.avatar_url) if account.avatar_url else None
        kind = platform_type or platform_type_of(instance.software.name)
        async with self.database.begin() as db:
            user = await active_user(db, caller, lock=True)
            await refuse_unstorable(
                db,
                name=name,
                instance_url=host,
                username=account.username,
                account_id=account.id,
            )
            await refuse_one_too_many(db, user.id, most=self.most_of_a_user)
            if await existing_connection(db, user.id, host, account):
                raise AccountTaken(field="access_token")
            if name is not None and await stored.connection_named(db, user.id, name):
                raise NameTaken(
                    "You already have an account with that name. Choose another name.",
                    field="name",
                )
            await give_up_username(db, user.id, host, account.username)
            now = self.now()
            connection = PlatformConnection(
                user_id=user.id,
                name=name or await free_name(db, user.id, host, account),
                platform_type=kind.value,
                instance_url=f"https://{host}",
                username=account.username,
                access_token=self.credentials.seal(token),
                is_active=True,
                created_at=now,
                updated_at=now,
            )
            await stored.add_connection(db, connection)
            if await stored.usable_default(db, user) is None:
                user.default_platform_connection_id = connection.id
            kept = await keep_account(db, connection, host, account, now=now)
            kept.token_expires_at = expiry_of(token)
            await keep_avatar(db, kept, avatar)
            await self.audit.record(
                db,
                AuditEvent.PLATFORM_CONNECTED,
                caller,
                user_id=user.id,
                detail={"platform_connection_id": connection.id},
            )
            await add_change(db, user.id, at=now)
            return connection, user.default_platform_connection_id == connection.id
