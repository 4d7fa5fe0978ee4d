"""Write down what a server says about a connection's account, within the caller's transaction."""

import hashlib
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.fediverse.types import Avatar, RemoteAccount
from quart_app.instances import is_same_account, server_of
from quart_app.model import (
    AVATAR_DIGEST_LENGTH,
    PLATFORM_NAME_LENGTH,
    PlatformAccount,
    PlatformConnection,
    PlatformType,
)
from quart_app.storage import platform_accounts as stored
from quart_app.storage import platforms as stored_platforms

_PIXELFED: Final = "pixelfed"  # NodeInfo's name
_CHECKED_EVERY_HOURS: Final = (20, 28)  # about once a day, and not all at the same time


@dataclass(frozen=True, kw_only=True)
class AddedAccount:
    """The connection that was added, or renewed if it is not new."""

    connection: PlatformConnection
    is_new: bool


def next_check(now: datetime) -> datetime:
    """Return when to check an account that works."""
    return now + timedelta(hours=random.uniform(*_CHECKED_EVERY_HOURS))  # noqa: S311


async def existing_connection(
    db: AsyncSession, user_id: int, host: str, account: RemoteAccount
) -> PlatformConnection | None:
    """Return the user's connection to an account, however it was written; None if there is none.

    A connection whose account no check has identified, as after a migration, is found by its
    server and username.
    """
    known = await stored.connection_with_identity(db, user_id, host, account.id)
    if known is not None:
        return known
    named = await _connections_named(db, user_id, host, account.username)
    return next((each for each in named if not is_identified(each)), None)


async def is_renewed_by(
    db: AsyncSession, wanted: PlatformConnection, host: str, account: RemoteAccount
) -> bool:
    """Return whether access to an account renews this connection, which the user chose.

    Users of the older application could add an account twice, and each of these is renewed. One
    that has neither the account's id nor its name can be any account at its server that the user
    has no other connection to.
    """
    if server_of(wanted.instance_url) != host:
        return False
    if wanted.account is not None and wanted.account.account_id is not None:
        return wanted.account.account_id == account.id
    if wanted.username is not None:
        return is_same_account(host, wanted.username, account.username)
    return await existing_connection(db, wanted.user_id, host, account) is None


def is_identified(connection: PlatformConnection) -> bool:
    """Return whether a check has found out the account's id. `account` must be loaded."""
    return connection.account is not None and connection.account.account_id is not None


async def give_up_username(db: AsyncSession, user_id: int, host: str, username: str) -> None:
    """Take a username from the user's other connections, because it is another account's now.

    Servers let accounts exchange their names, and give a deleted account's name to a new one. A
    connection that loses its name learns the new one by its next check.
    """
    for connection in await _connections_named(db, user_id, host, username):
        connection.username = None
    await db.flush()


async def _connections_named(
    db: AsyncSession, user_id: int, host: str, username: str
) -> list[PlatformConnection]:
    return [
        each
        for each in await stored.connections_with_username(db, user_id)
        if server_of(each.instance_url) == host
        and is_same_account(host, each.username or "", username)
    ]


async def free_name(db: AsyncSession, user_id: int, host: str, account: RemoteAccount) -> str:
    """Return the account's handle as its name, with a number if the user has that name already."""
    handle = f"@{account.username}@{host}"
    for number in count(1):
        suffix = "" if number == 1 else f" {number}"
        name = handle[: PLATFORM_NAME_LENGTH - len(suffix)] + suffix
        if not await stored_platforms.connection_named(db, user_id, name):
            break
    return name


def platform_type_of(software: str) -> PlatformType:
    """Return the kind of a server by its software: all but Pixelfed have Mastodon's API."""
    return PlatformType.PIXELFED if software == _PIXELFED else PlatformType.MASTODON


async def keep_account(
    db: AsyncSession,
    connection: PlatformConnection,
    host: str,
    account: RemoteAccount,
    *,
    now: datetime,
) -> PlatformAccount:
    """Write down a successful check of a connection; return the row for what else is known."""
    await _keep_username(db, connection, host, account)
    kept = await stored.account_of(db, connection.id)
    kept.host, kept.account_id = host, account.id
    kept.display_name, kept.profile_url = account.display_name, account.profile_url
    kept.reconnect_needed_since = kept.problem = None
    kept.failed_checks = 0
    kept.checked_at, kept.next_check_at = now, next_check(now)
    await db.flush()
    stored.show_account(connection, kept)
    return kept


async def _keep_username(
    db: AsyncSession, connection: PlatformConnection, host: str, account: RemoteAccount
) -> None:
    """Follow a change of the account's name.

    Another connection of that name keeps it if it may be to the same account: if it is, as in data
    of the older application, or if it is not identified yet.
    """
    name = account.username
    if connection.username is not None and is_same_account(host, connection.username, name):
        return
    others = await _connections_named(db, connection.user_id, host, name)
    if all(
        each.account is not None and each.account.account_id not in {None, account.id}
        for each in others
    ):
        await give_up_username(db, connection.user_id, host, name)
        connection.username = name


async def keep_avatar(db: AsyncSession, account: PlatformAccount, avatar: Avatar | None) -> None:
    """Replace the picture of an account; None leaves the one that is there."""
    if avatar is None:
        return
    digest = hashlib.sha256(avatar.body).hexdigest()[:AVATAR_DIGEST_LENGTH]
    if digest != account.avatar_digest:
        platform_connection_id = account.platform_connection_id
        await stored.keep_avatar(db, platform_connection_id, avatar.content_type, avatar.body)
        account.avatar_digest = digest
