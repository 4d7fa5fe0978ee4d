"""Add the account that a user authorized, after it was shown to them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.fediverse.types import Avatar, RemoteAccount
from quart_app.model import (
    AuditEvent,
    PlatformAuthorization,
    PlatformConnection,
    User,
)
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.errors import AuthorizationInvalid, OtherAccountAuthorized
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
from quart_app.services.platforms.steps.authorization_records import authorization_of_caller
from quart_app.services.platforms.steps.owners import (
    active_user,
    add_connection,
    refuse_one_too_many,
)
from quart_app.storage import authorizations as stored
from quart_app.storage import platforms as stored_platforms
from quart_app.storage.changes import add_change
from quart_app.storage.database import Database


@dataclass(frozen=True, kw_only=True)
class AuthorizedAccount:
    """An account that waits for the click that adds it, as its server describes it.

    `connection` is the user's connection that the click renews; None if it adds a new one.
    """

    id: int
    host: str
    software: str
    username: str
    display_name: str
    profile_url: str | None
    has_avatar: bool
    connection: PlatformConnection | None


@dataclass(frozen=True, kw_only=True)
class AuthorizedAccounts:
    """Accounts that users have authorized and not yet added."""

    database: Database
    credentials: Credentials
    audit: AuditWriter
    most_of_a_user: int
    now: Callable[[], datetime]

    async def waiting(self, caller: Caller, authorization_id: int) -> AuthorizedAccount:
        """Return the account, to be shown. Raises AuthorizationInvalid, OtherAccountAuthorized."""
        async with self.database.read() as db:
            authorization = await self._authorized(db, caller, authorization_id)
            account = _account_of(authorization)
            return AuthorizedAccount(
                id=authorization.id,
                host=authorization.host,
                software=authorization.software or "",
                username=account.username,
                display_name=account.display_name,
                profile_url=account.profile_url,
                has_avatar=authorization.avatar is not None,
                connection=await self._renewed(db, caller, authorization, account),
            )

    async def avatar(self, caller: Caller, authorization_id: int) -> Avatar | None:
        """Return the account's picture. Raises AuthorizationInvalid."""
        async with self.database.read() as db:
            return _avatar_of(await self._authorized(db, caller, authorization_id))

    async def add(self, caller: Caller, authorization_id: int) -> AddedAccount:
        """Add the account, or renew the user's connection to it. It works once.

        A new connection becomes the default if there is none. Raises AuthorizationInvalid,
        OtherAccountAuthorized, TooManyPlatforms, NotFound.
        """
        async with self.database.begin() as db:
            user = await active_user(db, caller, lock=True)
            authorization = await self._authorized(db, caller, authorization_id)
            account = _account_of(authorization)
            connection = await self._renewed(db, caller, authorization, account)
            is_new = connection is None
            if connection is None:
                await refuse_one_too_many(db, user.id, most=self.most_of_a_user)
                connection = await self._new(db, user, authorization, account)
            await self._keep(db, connection, authorization, account)
            if not await stored.delete_authorization(db, authorization.id):
                raise AuthorizationInvalid
            await self.audit.record(
                db,
                AuditEvent.PLATFORM_CONNECTED if is_new else AuditEvent.PLATFORM_RECONNECTED,
                caller,
                user_id=user.id,
                detail={"platform_connection_id": connection.id},
            )
            await add_change(db, user.id, at=self.now())
            return AddedAccount(connection=connection, is_new=is_new)

    async def _authorized(
        self, db: AsyncSession, caller: Caller, authorization_id: int
    ) -> PlatformAuthorization:
        authorization = await authorization_of_caller(db, caller, authorization_id, self.now())
        if authorization.access_token is None:
            raise AuthorizationInvalid
        return authorization

    async def _renewed(
        self,
        db: AsyncSession,
        caller: Caller,
        authorization: PlatformAuthorization,
        account: RemoteAccount,
    ) -> PlatformConnection | None:
        """Return the user's connection that this renews. Raises OtherAccountAuthorized."""
        host, wanted_id = authorization.host, authorization.platform_connection_id
        wanted = wanted_id and await stored_platforms.connection_of(db, caller.user_id, wanted_id)
        if not wanted:  # or it was removed meanwhile, so it is added again
            return await existing_connection(db, caller.user_id, host, account)
        if await is_renewed_by(db, wanted, host, account):
            return wanted
        raise OtherAccountAuthorized(
            f"You authorized @{account.username} at {host}, which is not the account to reconnect."
            f" Log in to the right account on {host}, and start again."
        )

    async def _new(
        self,
        db: AsyncSession,
        user: User,
        authorization: PlatformAuthorization,
        account: RemoteAccount,
    ) -> PlatformConnection:
        await give_up_username(db, authorization.user_id, authorization.host, account.username)
        connection = PlatformConnection(
            user_id=authorization.user_id,
            name=await free_name(db, authorization.user_id, authorization.host, account),
            platform_type=platform_type_of(authorization.software or "").value,
            instance_url=f"https://{authorization.host}",
            username=account.username,
            access_token=authorization.access_token,
            is_active=True,
            created_at=self.now(),
        )
        await add_connection(db, user, connection)
        return connection

    async def _keep(
        self,
        db: AsyncSession,
        connection: PlatformConnection,
        authorization: PlatformAuthorization,
        account: RemoteAccount,
    ) -> None:
        if authorization.platform_connection_id is None:
            connection.is_active = True  # an explicit reconnection keeps the settings
        connection.access_token = authorization.access_token or ""
        connection.client_key = self.credentials.seal(authorization.client_id or "")
        connection.client_secret = authorization.client_secret
        connection.updated_at = self.now()
        kept = await keep_account(db, connection, authorization.host, account, now=self.now())
        kept.software = authorization.software
        kept.scopes = authorization.granted_scopes or authorization.scope
        kept.refresh_token = authorization.refresh_token
        kept.token_expires_at = authorization.token_expires_at
        await keep_avatar(db, kept, _avatar_of(authorization))


def _account_of(authorization: PlatformAuthorization) -> RemoteAccount:
    return RemoteAccount(
        id=authorization.account_id or "",
        username=authorization.username or "",
        display_name=authorization.display_name or "",
        profile_url=authorization.profile_url,
        avatar_url=None,
    )


def _avatar_of(authorization: PlatformAuthorization) -> Avatar | None:
    if authorization.avatar is None or authorization.avatar_type is None:
        return None
    return Avatar(authorization.avatar_type, authorization.avatar)
