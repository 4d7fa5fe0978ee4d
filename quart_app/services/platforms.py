"""Use cases of platform connections: list, connect, switch, choose the default, change, remove."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import (
    AccountTaken,
    InUse,
    InvalidInput,
    NameTaken,
    NotFound,
    PlatformInactive,
)
from quart_app.model import (
    PLATFORM_NAME_LENGTH,
    AuditEvent,
    PlatformConnection,
    PlatformType,
    User,
)
from quart_app.services import names
from quart_app.services.audit import Audit
from quart_app.services.credentials import Credentials
from quart_app.storage import platforms as stored
from quart_app.storage import users as stored_users
from quart_app.storage.changes import add_change
from quart_app.storage.database import Database
from quart_app.storage.encoding import refuse_unstorable

OF_A_PAGE = 50
_BLANK = re.compile(r"\s")
_LONGEST_HOST = 253  # RFC 1035 section 2.3.4, as text


@dataclass(frozen=True)
class PlatformList:
    """A user's connections by name, and which of them is the default."""

    connections: list[PlatformConnection]
    default_id: int | None


@dataclass(frozen=True)
class PlatformsPage:
    """Some of a user's connections by name, without their credentials; more come `after` a name."""

    connections: list[PlatformConnection]
    default_id: int | None
    after: str | None


@dataclass(frozen=True)
class Platforms:
    """A user's platform connections. Another user's do not exist here: NotFound."""

    database: Database
    credentials: Credentials
    audit: Audit
    now: Callable[[], datetime]

    async def list_of(self, user_id: int) -> tuple[User, PlatformList]:
        """Return the user and their connections. Raises NotFound where the account is inactive."""
        async with self.database.read() as db:
            user = await _active_user(db, user_id)
            connections = await stored.connections_of(db, user_id)
            return user, PlatformList(connections, user.default_platform_connection_id)

    async def found(self, user_id: int, *, after: str = "", sought: str = "") -> PlatformsPage:
        """Return a page of the user's connections, or of those that hold what is sought.

        Raises NotFound where the account is inactive.
        """
        async with self.database.read() as db:
            user = await _active_user(db, user_id)
            found = await stored.connections_shown(
                db, user_id, after=after, sought=sought, most=OF_A_PAGE + 1
            )
        shown = found[:OF_A_PAGE]
        return PlatformsPage(
            shown,
            user.default_platform_connection_id,
            shown[-1].name if len(found) > OF_A_PAGE else None,
        )

    async def connection(self, user_id: int, connection_id: int) -> tuple[PlatformConnection, bool]:
        """Return the connection and whether it is the default."""
        async with self.database.read() as db:
            user = await _active_user(db, user_id)
            connection = await self._theirs(db, user_id, connection_id)
            return connection, connection.id == user.default_platform_connection_id

    async def connect(
        self,
        user_id: int,
        *,
        name: str,
        platform_type: PlatformType,
        instance_url: str,
        access_token: str,
        username: str | None = None,
    ) -> tuple[PlatformConnection, bool]:
        """Keep a connection, its token sealed; a user's first becomes the default.

        Returns it and whether it is the default. Raises NameTaken, AccountTaken, InvalidInput.
        """
        name, instance_url = _checked_name(name), _origin(instance_url)
        username = _checked_account(username)
        _check_token(access_token)
        now = self.now()
        connection = PlatformConnection(
            user_id=user_id,
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
            user = await _active_user(db, user_id, lock=True)
            await refuse_unstorable(db, name=name, instance_url=instance_url, username=username)
            if await stored.connection_named(db, user_id, name):
                raise NameTaken("You have a connection of that name already.", field="name")
            if username and await stored.connection_to_account(db, user_id, instance_url, username):
                raise AccountTaken(field="username")
            await stored.add_connection(db, connection)
            if user.default_platform_connection_id is None:
                user.default_platform_connection_id = connection.id
            await self._record(db, AuditEvent.PLATFORM_CONNECTED, connection)
            await add_change(db, user_id, at=now)
            return connection, connection.id == user.default_platform_connection_id

    async def switch(self, user_id: int, connection_id: int, *, sid: str) -> PlatformConnection:
        """Note that the session acts for this connection from now on. Raises PlatformInactive."""
        async with self.database.begin() as db:
            await _active_user(db, user_id, lock=True)
            connection = await self._theirs(db, user_id, connection_id)
            _refuse_inactive(connection)
            connection.last_used = self.now()
            await self._record(db, AuditEvent.PLATFORM_SWITCHED, connection)
            await add_change(
                db, user_id, at=self.now(), sid=sid, platform_connection_id=connection_id
            )
            return connection

    async def make_default(self, user_id: int, connection_id: int) -> PlatformConnection:
        """Let sessions begin with this connection. Raises PlatformInactive."""
        async with self.database.begin() as db:
            user = await _active_user(db, user_id, lock=True)
            connection = await self._theirs(db, user_id, connection_id)
            _refuse_inactive(connection)
            user.default_platform_connection_id = connection.id
            await self._record(db, AuditEvent.PLATFORM_DEFAULT_CHANGED, connection)
            await add_change(db, user_id, at=self.now())
            return connection

    async def change(
        self,
        user_id: int,
        connection_id: int,
        *,
        name: str | None = None,
        is_active: bool | None = None,
    ) -> tuple[PlatformConnection, bool]:
        """Rename it, or switch it on or off; None leaves as it is. Raises NameTaken, InvalidInput.

        Returns it and whether it is the default.
        """
        async with self.database.begin() as db:
            user = await _active_user(db, user_id, lock=True)
            connection = await self._theirs(db, user_id, connection_id)
            if name is not None:
                name = _checked_name(name)
                await refuse_unstorable(db, name=name)
                other = await stored.connection_named(db, user_id, name)
                if other is not None and other is not connection:
                    raise NameTaken("You have a connection of that name already.", field="name")
                connection.name = name
            if is_active is not None:
                connection.is_active = is_active
            connection.updated_at = self.now()
            await self._record(
                db,
                AuditEvent.PLATFORM_CHANGED,
                connection,
                is_renamed=name is not None,
                is_active=connection.is_active,
            )
            await add_change(db, user_id, at=self.now())
            return connection, connection.id == user.default_platform_connection_id

    async def remove(self, user_id: int, connection_id: int) -> None:
        """Delete it and its credentials. Raises InUse where other tables still refer to it."""
        async with self.database.begin() as db:
            await _active_user(db, user_id, lock=True)
            connection = await self._theirs(db, user_id, connection_id)
            if not await stored.delete_connection(db, connection):
                raise InUse
            await self._record(db, AuditEvent.PLATFORM_REMOVED, connection)
            await add_change(db, user_id, at=self.now())

    async def _theirs(
        self, db: AsyncSession, user_id: int, connection_id: int
    ) -> PlatformConnection:
        connection = await stored.connection_of(db, user_id, connection_id)
        if connection is None:
            self.audit.count(AuditEvent.REFUSED_RIGHTS, user_id=user_id)
            raise NotFound("You have no such platform connection.")
        return connection

    async def _record(
        self, db: AsyncSession, event: AuditEvent, connection: PlatformConnection, **detail: object
    ) -> None:
        # By its id: a name is anything that a person typed, be it a token in the wrong field.
        await self.audit.record(
            db,
            event,
            user_id=connection.user_id,
            detail={"platform_connection_id": connection.id, **detail},
        )


async def _active_user(db: AsyncSession, user_id: int, *, lock: bool = False) -> User:
    user = await stored_users.user_by_id(db, user_id, lock=lock)
    if user is None or not user.is_active:
        raise NotFound
    return user


def _refuse_inactive(connection: PlatformConnection) -> None:
    if not connection.is_active:
        raise PlatformInactive


def _checked_name(name: str) -> str:
    name = name.strip()
    longest = PLATFORM_NAME_LENGTH
    if not names.is_writable(name):
        raise InvalidInput(names.SENTENCE, field="name")
    if not names.is_visible(name) or len(name) > longest:
        raise InvalidInput(f"A name has 1 to {longest} characters.", field="name")
    return name


def _checked_account(username: str | None) -> str | None:
    """Return the account's name without the @ that people write before it."""
    if username is None:
        return None
    account = username.removeprefix("@")
    if not names.is_visible(account) or account != account.strip():
        raise InvalidInput(
            "An account has a name, without a space at either end.", field="username"
        )
    if not names.is_writable(account):
        raise InvalidInput(names.SENTENCE, field="username")
    return account


def _check_token(access_token: str) -> None:
    """Refuse what no HTTP header could carry, such as a line end that was copied along."""
    if not access_token or not names.is_writable(access_token) or _BLANK.search(access_token):
        raise InvalidInput(
            "An access token holds no spaces, line ends or control characters.",
            field="access_token",
        )


def _origin(text: str) -> str:
    """Return `https://host[:port]` of what a person typed, be it only the host.

    Raises InvalidInput for anything more than an https origin: a path, a user name, another scheme.
    """
    wrong = InvalidInput(
        "An instance's address is its name alone, such as pixelfed.example, without a path.",
        field="instance_url",
    )
    text = text.strip()
    try:
        url = urlsplit(text if "://" in text else f"https://{text}")
        # With and without the root's dot it is one host, and must be one account's address.
        host = (url.hostname or "").encode("idna").decode().removesuffix(".")
        port = url.port
    except ValueError:  # UnicodeError of a host that can't be one is a ValueError, too
        raise wrong from None
    if url.scheme != "https" or url.path not in {"", "/"} or url.query or url.fragment:
        raise wrong
    if "@" in url.netloc or port == 0 or len(host) > _LONGEST_HOST or not _is_host(host):
        raise wrong
    return f"https://{host}" if port in {None, 443} else f"https://{host}:{port}"


def _is_host(host: str) -> bool:
    return all(
        label and label.strip("-") == label and label.replace("-", "").isalnum()
        for label in host.split(".")
    )
