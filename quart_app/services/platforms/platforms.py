"""Use cases of platform connections: list, connect, switch, choose the default, change, remove."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import (
    AccountTaken,
    PlatformInactive,
)
from quart_app.fediverse.types import Avatar
from quart_app.instances import is_same_account, server_of
from quart_app.model import AuditEvent, PlatformConnection, PlatformType, User
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.services.pagination import PAGE_SIZE, Page, page_of
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.platform_fields import (
    checked_account,
    checked_name,
    checked_token,
    checked_url,
)
from quart_app.services.platforms.searching import holds
from quart_app.services.platforms.steps.owners import (
    active_user,
    add_connection,
    own_connection,
    refuse_one_too_many,
    refuse_taken_name,
)
from quart_app.storage import platform_accounts as stored_accounts
from quart_app.storage import platforms as stored
from quart_app.storage.changes import add_change
from quart_app.storage.database import Database
from quart_app.storage.encoding import refuse_unstorable

_SEARCHED_AT_ONCE: Final = 200  # rows: a millisecond of the event loop


@dataclass(frozen=True, kw_only=True)
class PlatformsPage(Page[PlatformConnection, str]):
    """A page of a user's connections by name, without credentials. The cursor is the last name.

    `default_id` is the id of the default, which may be on another page. It is None if the page
    shows that the default is inactive.
    """

    default_id: int | None


@dataclass(frozen=True, kw_only=True)
class Platforms:
    """A user's platform connections. For another user's, methods raise NotFound."""

    database: Database
    credentials: Credentials
    audit: AuditWriter
    most_of_a_user: int
    now: Callable[[], datetime]

    async def list_of(
        self, caller: Caller, *, after: str = "", sought: str = "", size: int = PAGE_SIZE
    ) -> PlatformsPage:
        """Return the user's first connections by name, or those after a name.

        `sought` selects those whose name, account or server contains it; see `holds`.
        Raises NotFound if the user was deleted or is inactive.
        """
        if sought:
            async with self.database.read() as db:
                user = await active_user(db, caller)
                ids = await _ids_of_found(db, caller.user_id, sought, after=after, most=size + 1)
                found = await stored.connections_shown(db, caller.user_id, ids=ids, most=size + 1)
        else:
            user, found = await self.database.run_in_snapshot(
                lambda db: _user_and_connections(db, caller, after=after, most=size + 1)
            )
        page = page_of(found, size=size, cursor_of=attrgetter("name"))
        default_id = user.default_platform_connection_id
        if any(each.id == default_id and not each.is_active for each in page.items):
            default_id = None
        return PlatformsPage(items=page.items, next_cursor=page.next_cursor, default_id=default_id)

    async def connection(
        self, caller: Caller, platform_connection_id: int
    ) -> tuple[PlatformConnection, bool]:
        """Return the connection and whether it is the default."""
        async with self.database.read() as db:
            user = await active_user(db, caller)
            connection = await own_connection(db, self.audit, caller, platform_connection_id)
            return connection, _is_default(user, connection)

    async def fallback(self, caller: Caller) -> PlatformConnection | None:
        """Return the default, else the oldest connection in use; None if none is in use.

        A session begins with it, and switches to it when its current connection is lost.
        """
        async with self.database.read() as db:
            user = await active_user(db, caller)
            return await stored.first_usable_connection(
                db, user.id, user.default_platform_connection_id
            )

    async def avatar(self, caller: Caller, platform_connection_id: int) -> Avatar | None:
        """Return the picture of an account; None if there is none."""
        async with self.database.read() as db:
            kept = await stored_accounts.avatar_of(db, caller.user_id, platform_connection_id)
        return None if kept is None else Avatar(kept.content_type, kept.body)

    async def connect(
        self,
        caller: Caller,
        *,
        name: str,
        platform_type: PlatformType,
        instance_url: str,
        access_token: str,
        username: str | None = None,
    ) -> tuple[PlatformConnection, bool]:
        """Store a connection with a sealed token. It becomes the default if there is none.

        Return the connection, and whether it is the default.
        Raises NameTaken, AccountTaken, TooManyPlatforms, InvalidInput.
        """
        name, instance_url = checked_name(name), checked_url(instance_url)
        username = checked_account(instance_url, username)
        access_token = checked_token(access_token)
        now = self.now()
        connection = PlatformConnection(
            user_id=caller.user_id,
            name=name,
            platform_type=platform_type.value,
            instance_url=instance_url,
            username=username,
            access_token=self.credentials.seal(access_token),
            is_active=True,
            created_at=now,
            updated_at=now,
        )
        async with self.database.begin() as db:
            # Lock the user, so that of two requests at once the second can be refused.
            user = await active_user(db, caller, lock=True)
            await refuse_unstorable(db, name=name, instance_url=instance_url, username=username)
            await refuse_one_too_many(db, caller.user_id, most=self.most_of_a_user)
            await refuse_taken_name(db, caller.user_id, name)
            if await _has_account(db, connection):
                raise AccountTaken(field="username")
            await add_connection(db, user, connection)
            await self._record(db, caller, AuditEvent.PLATFORM_CONNECTED, connection)
            await add_change(db, caller.user_id, at=now)
            return connection, _is_default(user, connection)

    async def switch(self, caller: Caller, platform_connection_id: int) -> PlatformConnection:
        """Make this the current connection of the session. Raises PlatformInactive."""
        async with self.database.begin() as db:
            await active_user(db, caller, lock=True)
            connection = await own_connection(db, self.audit, caller, platform_connection_id)
            _refuse_inactive(connection)
            connection.last_used = self.now()
            await self._record(db, caller, AuditEvent.PLATFORM_SWITCHED, connection)
            await add_change(
                db,
                caller.user_id,
                at=self.now(),
                sid=caller.sid,
                platform_connection_id=platform_connection_id,
            )
            return connection

    async def make_default(self, caller: Caller, platform_connection_id: int) -> PlatformConnection:
        """Let sessions begin with this connection. Raises PlatformInactive."""
        async with self.database.begin() as db:
            user = await active_user(db, caller, lock=True)
            connection = await own_connection(db, self.audit, caller, platform_connection_id)
            _refuse_inactive(connection)
            user.default_platform_connection_id = connection.id
            await self._record(db, caller, AuditEvent.PLATFORM_DEFAULT_CHANGED, connection)
            await add_change(db, caller.user_id, at=self.now())
            return connection

    async def change(
        self,
        caller: Caller,
        platform_connection_id: int,
        *,
        name: str | None = None,
        is_active: bool | None = None,
    ) -> tuple[PlatformConnection, bool]:
        """Rename a connection, or activate or deactivate it. Raises NameTaken, InvalidInput.

        None means no change. A deactivated connection is no longer the default. Return the
        connection, and whether it is the default.
        """
        async with self.database.begin() as db:
            user = await active_user(db, caller, lock=True)
            connection = await own_connection(db, self.audit, caller, platform_connection_id)
            if name is not None:
                name = checked_name(name)
                await refuse_unstorable(db, name=name)
                await refuse_taken_name(db, caller.user_id, name, of=connection)
                connection.name = name
            if is_active is not None:
                connection.is_active = is_active
            if is_active is False and user.default_platform_connection_id == connection.id:
                user.default_platform_connection_id = None
            connection.updated_at = self.now()
            await self._record(
                db,
                caller,
                AuditEvent.PLATFORM_CHANGED,
                connection,
                is_renamed=name is not None,
                is_active=connection.is_active,
            )
            await add_change(db, caller.user_id, at=self.now())
            return connection, _is_default(user, connection)

    async def _record(
        self,
        db: AsyncSession,
        caller: Caller,
        event: AuditEvent,
        connection: PlatformConnection,
        **detail: object,
    ) -> None:
        # Record the id, not the name: a user may have typed a token into the wrong field.
        await self.audit.record(
            db,
            event,
            caller,
            user_id=connection.user_id,
            detail={"platform_connection_id": connection.id, **detail},
        )


def _is_default(user: User, connection: PlatformConnection) -> bool:
    """Return whether sessions begin with this connection, which must be active."""
    return bool(connection.is_active) and connection.id == user.default_platform_connection_id


async def _has_account(db: AsyncSession, wanted: PlatformConnection) -> bool:
    """Return whether the user has a connection to the same account, in any spelling."""
    if wanted.username is None:
        return False
    server = server_of(wanted.instance_url)
    return any(
        is_same_account(server, wanted.username, username)
        for instance_url, username in await stored.accounts_of(db, wanted.user_id)
        if server_of(instance_url) == server
    )


async def _user_and_connections(
    db: AsyncSession, caller: Caller, *, after: str, most: int
) -> tuple[User, list[PlatformConnection]]:
    user = await active_user(db, caller)
    return user, await stored.connections_shown(db, caller.user_id, after=after, most=most)


async def _ids_of_found(
    db: AsyncSession, user_id: int, sought: str, *, after: str, most: int
) -> list[int]:
    """Return the ids of the first connections by name that contain the search text.

    A user of the older application may have thousands. So only a few hundred are in memory at a
    time, and other requests are served in between.
    """
    ids: list[int] = []
    while len(ids) < most:
        some = await stored.search_fields_of_connections(
            db, user_id, after=after, most=_SEARCHED_AT_ONCE
        )
        ids += [each.id for each in some if holds(each, sought)]
        if len(some) < _SEARCHED_AT_ONCE:
            break
        after = some[-1].name
    return ids[:most]


def _refuse_inactive(connection: PlatformConnection) -> None:
    if not connection.is_active:
        raise PlatformInactive
