"""Connect an account by an access token that the user pastes, once its server accepts it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import AccountTaken, InvalidInput
from quart_app.fediverse.errors import TokenRefused
from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.types import Avatar, RemoteAccount
from quart_app.instances import is_same_account
from quart_app.model import AuditEvent, PlatformConnection, PlatformType, User
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.errors import OtherAccountAuthorized
from quart_app.services.platforms.platform_fields import (
    checked_name,
    checked_server,
    checked_token,
)
from quart_app.services.platforms.steps.account_records import (
    AddedAccount,
    existing_connection,
    free_name,
    give_up_username,
    is_renewed_by,
    keep_account,
    keep_avatar,
    platform_type_of,
)
from quart_app.services.platforms.steps.instance_directory import InstanceDirectory
from quart_app.services.platforms.steps.outbound_limit import OutboundLimit
from quart_app.services.platforms.steps.owners import (
    active_user,
    add_connection,
    own_connection,
    refuse_one_too_many,
    refuse_taken_name,
)
from quart_app.services.platforms.steps.token_expiry import expiry_of
from quart_app.storage.changes import add_change
from quart_app.storage.database import Database
from quart_app.storage.encoding import refuse_unstorable


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """A token, and its account as the server describes it."""

    host: str
    software: str
    token: str = field(repr=False)
    account: RemoteAccount
    avatar: Avatar | None

    @property
    def texts(self) -> dict[str, str]:
        """The texts to store, which the database's encoding must have."""
        return {
            "instance_url": self.host,
            "username": self.account.username,
            "account_id": self.account.id,
        }


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
        name = None if name is None else checked_name(name)
        seen = await self._look(caller, instance_url, access_token, username)
        kind = platform_type or platform_type_of(seen.software)
        async with self.database.begin() as db:
            user = await active_user(db, caller, lock=True)
            await refuse_unstorable(db, **seen.texts, name=name)
            if await existing_connection(db, user.id, seen.host, seen.account):
                raise AccountTaken(field="access_token")
            connection = await self._add(db, user, seen, name, kind)
            await self._keep(db, caller, connection, seen, AuditEvent.PLATFORM_CONNECTED)
            return connection, user.default_platform_connection_id == connection.id

    async def connect_or_renew(
        self,
        caller: Caller,
        *,
        instance_url: str,
        access_token: str,
        name: str | None = None,
        platform_type: PlatformType | None = None,
        username: str | None = None,
    ) -> AddedAccount:
        """Connect as `connect` does, or give the user's connection to that account this token.

        A connection that is renewed keeps its id, name and settings. Raises as `connect`, but not
        AccountTaken.
        """
        name = None if name is None else checked_name(name)
        seen = await self._look(caller, instance_url, access_token, username)
        async with self.database.begin() as db:
            user = await active_user(db, caller, lock=True)
            await refuse_unstorable(db, **seen.texts, name=name)
            connection = await existing_connection(db, user.id, seen.host, seen.account)
            if connection is not None:
                connection.is_active = True
                await self._renew(db, caller, connection, seen)
                return AddedAccount(connection=connection, is_new=False)
            kind = platform_type or platform_type_of(seen.software)
            connection = await self._add(db, user, seen, name, kind)
            await self._keep(db, caller, connection, seen, AuditEvent.PLATFORM_CONNECTED)
            return AddedAccount(connection=connection, is_new=True)

    async def renew(
        self, caller: Caller, platform_connection_id: int, *, access_token: str
    ) -> tuple[PlatformConnection, bool]:
        """Give a connection another access token of its account; its name and settings stay.

        Return the connection, and whether it is the default. Raises NotFound, InvalidInput,
        OtherAccountAuthorized, TooManyOutbound, ServerError.
        """
        async with self.database.read() as db:
            connection = await own_connection(db, self.audit, caller, platform_connection_id)
        seen = await self._look(caller, connection.instance_url, access_token, None)
        async with self.database.begin() as db:
            user = await active_user(db, caller, lock=True)
            connection = await own_connection(db, self.audit, caller, platform_connection_id)
            await refuse_unstorable(db, **seen.texts)
            if not await is_renewed_by(db, connection, seen.host, seen.account):
                raise OtherAccountAuthorized(
                    f"This access token belongs to @{seen.account.username} at {seen.host}, another"
                    " account. Copy a token of the right one."
                )
            await self._renew(db, caller, connection, seen)
            is_default = user.default_platform_connection_id == connection.id
            return connection, is_default and bool(connection.is_active)

    async def _look(
        self, caller: Caller, instance_url: str, access_token: str, username: str | None
    ) -> _Seen:
        """Ask the server whose token it is. Raises InvalidInput, TooManyOutbound, ServerError."""
        host = checked_server(instance_url, field="instance_url")
        token = checked_token(access_token)
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
        return _Seen(
            host=host,
            software=instance.software.name,
            token=token,
            account=account,
            avatar=avatar,
        )

    async def _add(
        self,
        db: AsyncSession,
        user: User,
        seen: _Seen,
        name: str | None,
        kind: PlatformType,
    ) -> PlatformConnection:
        """Insert the connection. It becomes the default if there is none."""
        await refuse_one_too_many(db, user.id, most=self.most_of_a_user)
        if name is not None:
            await refuse_taken_name(db, user.id, name)
        await give_up_username(db, user.id, seen.host, seen.account.username)
        now = self.now()
        connection = PlatformConnection(
            user_id=user.id,
            name=name or await free_name(db, user.id, seen.host, seen.account),
            platform_type=kind.value,
            instance_url=f"https://{seen.host}",
            username=seen.account.username,
            access_token=self.credentials.seal(seen.token),
            is_active=True,
            created_at=now,
            updated_at=now,
        )
        await add_connection(db, user, connection)
        return connection

    async def _renew(
        self, db: AsyncSession, caller: Caller, connection: PlatformConnection, seen: _Seen
    ) -> None:
        connection.access_token = self.credentials.seal(seen.token)
        connection.client_key = connection.client_secret = None
        connection.updated_at = self.now()
        await self._keep(db, caller, connection, seen, AuditEvent.PLATFORM_RECONNECTED)

    async def _keep(
        self,
        db: AsyncSession,
        caller: Caller,
        connection: PlatformConnection,
        seen: _Seen,
        event: AuditEvent,
    ) -> None:
        """Write down the account, and that the access was not granted to this application."""
        now = self.now()
        kept = await keep_account(db, connection, seen.host, seen.account, now=now)
        kept.software = kept.scopes = kept.refresh_token = None
        kept.token_expires_at = expiry_of(seen.token)
        await keep_avatar(db, kept, seen.avatar)
        detail = {"platform_connection_id": connection.id}
        await self.audit.record(db, event, caller, user_id=connection.user_id, detail=detail)
        await add_change(db, connection.user_id, at=now)
