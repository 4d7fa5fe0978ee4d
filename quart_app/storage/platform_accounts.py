"""Queries about the accounts behind connections: what their servers said, and their pictures."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, or_, select, union_all, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload
from sqlalchemy.orm.attributes import set_committed_value

from quart_app.instances import server_of
from quart_app.model import Avatar, PlatformAccount, PlatformAuthorization, PlatformConnection
from quart_app.storage.locks import is_postgresql


async def account_of(db: AsyncSession, platform_connection_id: int) -> PlatformAccount:
    """Return the account of a connection, or a new row without anything known.

    Another transaction may add the row at the same time, so this waits for it.
    """
    if account := await db.get(PlatformAccount, platform_connection_id):
        return account
    insert = postgresql.insert if is_postgresql(db) else sqlite.insert
    await db.execute(
        insert(PlatformAccount)
        .values(platform_connection_id=platform_connection_id, failed_checks=0)
        .on_conflict_do_nothing()
    )
    return await db.get_one(PlatformAccount, platform_connection_id)


def show_account(connection: PlatformConnection, account: PlatformAccount) -> None:
    """Let a loaded connection have this account, which was written after it was loaded."""
    set_committed_value(connection, "account", account)


async def connection_with_identity(
    db: AsyncSession, user_id: int, host: str, account_id: str
) -> PlatformConnection | None:
    """Return the user's connection to an account that a check has identified."""
    return await db.scalar(
        select(PlatformConnection)
        .join(PlatformAccount, PlatformAccount.platform_connection_id == PlatformConnection.id)
        .where(
            PlatformConnection.user_id == user_id,
            PlatformAccount.host == host,
            PlatformAccount.account_id == account_id,
        )
        .order_by(PlatformConnection.id)
        .limit(1)
        .options(joinedload(PlatformConnection.account))
    )


async def access_tokens_of_account(
    db: AsyncSession, host: str, account_id: str, *, now: datetime
) -> list[str]:
    """Return the sealed access tokens of an account: of all users, and of attempts under way."""
    connected = (
        select(PlatformConnection.access_token)
        .join(PlatformAccount, PlatformAccount.platform_connection_id == PlatformConnection.id)
        .where(PlatformAccount.host == host, PlatformAccount.account_id == account_id)
    )
    authorized = select(PlatformAuthorization.access_token).where(
        PlatformAuthorization.host == host,
        PlatformAuthorization.account_id == account_id,
        PlatformAuthorization.access_token.is_not(None),
        PlatformAuthorization.expires_at > now,
    )
    # As text: SQLite keeps bytes in a text column, too.
    return [str(token) for token in await db.scalars(union_all(connected, authorized))]


async def connections_with_username(db: AsyncSession, user_id: int) -> list[PlatformConnection]:
    """Return the user's connections whose account's name is known, with it, the oldest first."""
    found = await db.scalars(
        select(PlatformConnection)
        .where(PlatformConnection.user_id == user_id, PlatformConnection.username.is_not(None))
        .order_by(PlatformConnection.id)
        .options(joinedload(PlatformConnection.account))
    )
    return list(found)


async def avatar_of(db: AsyncSession, user_id: int, platform_connection_id: int) -> Avatar | None:
    """Return the picture of the account of a user's connection."""
    return await db.scalar(
        select(Avatar)
        .join(PlatformConnection, PlatformConnection.id == Avatar.platform_connection_id)
        .where(
            Avatar.platform_connection_id == platform_connection_id,
            PlatformConnection.user_id == user_id,
        )
    )


async def keep_avatar(
    db: AsyncSession, platform_connection_id: int, content_type: str, body: bytes
) -> None:
    """Store a connection's picture in place of an earlier one."""
    await delete_avatar(db, platform_connection_id)
    db.add(
        Avatar(platform_connection_id=platform_connection_id, content_type=content_type, body=body)
    )
    await db.flush()


async def delete_avatar(db: AsyncSession, platform_connection_id: int) -> None:
    """Delete a connection's picture, if it has one."""
    await db.execute(delete(Avatar).where(Avatar.platform_connection_id == platform_connection_id))


async def has_connections_to_check(db: AsyncSession, *, now: datetime) -> bool:
    """Return whether a connection in use is due, or has no time for its first check yet."""
    found = await db.scalar(
        select(PlatformConnection.id)
        .outerjoin(PlatformAccount, PlatformAccount.platform_connection_id == PlatformConnection.id)
        .where(
            PlatformConnection.is_active.is_(True),
            PlatformAccount.reconnect_needed_since.is_(None),
            or_(PlatformAccount.next_check_at.is_(None), PlatformAccount.next_check_at <= now),
        )
        .limit(1)
    )
    return found is not None


async def unscheduled_connections(db: AsyncSession, *, most: int) -> list[int]:
    """Return ids of connections in use whose first check has no time yet, and lock these."""
    ids = await db.scalars(
        select(PlatformConnection.id)
        .outerjoin(PlatformAccount, PlatformAccount.platform_connection_id == PlatformConnection.id)
        .where(
            PlatformConnection.is_active.is_(True),
            PlatformAccount.next_check_at.is_(None),
            PlatformAccount.reconnect_needed_since.is_(None),
        )
        .order_by(PlatformConnection.id)
        .limit(most)
        .with_for_update(of=PlatformConnection, skip_locked=True)
    )
    return list(ids)


class DueConnection(NamedTuple):
    """A connection to check, and the address of its server as stored."""

    id: int
    instance_url: str


async def take_due_connections(
    db: AsyncSession, *, now: datetime, until: datetime, most: int
) -> list[DueConnection]:
    """Return connections whose check is due, the longest overdue first, and postpone it.

    Until then no other process takes them. Connections that are switched off, or wait for their
    user to reconnect, are not checked.
    """
    rows = await db.execute(
        select(PlatformConnection.id, PlatformConnection.instance_url)
        .join(PlatformAccount, PlatformAccount.platform_connection_id == PlatformConnection.id)
        .where(
            PlatformConnection.is_active.is_(True),
            PlatformAccount.reconnect_needed_since.is_(None),
            PlatformAccount.next_check_at <= now,
        )
        .order_by(PlatformAccount.next_check_at)
        .limit(most)
        .with_for_update(of=PlatformAccount, skip_locked=True)
    )
    due = [DueConnection._make(row) for row in rows]
    await db.execute(
        update(PlatformAccount)
        .where(PlatformAccount.platform_connection_id.in_([each.id for each in due]))
        .values(next_check_at=until)
    )
    return due


async def postpone_checks(db: AsyncSession, *, like: int) -> None:
    """Let every check at the server of a connection wait at least as long as the check of that one.

    They count as failed as often, so that the wait grows with each trouble of the server's.
    """
    row = await db.execute(
        select(
            PlatformConnection.instance_url,
            PlatformAccount.next_check_at,
            PlatformAccount.failed_checks,
        )
        .join(PlatformAccount, PlatformAccount.platform_connection_id == PlatformConnection.id)
        .where(PlatformConnection.id == like)
    )
    if (found := row.one_or_none()) is None:
        return
    spellings = await _spellings_of(db, found.instance_url)
    there = select(PlatformConnection.id).where(PlatformConnection.instance_url.in_(spellings))
    await db.execute(
        update(PlatformAccount)
        .where(
            PlatformAccount.platform_connection_id.in_(there),
            PlatformAccount.next_check_at < found.next_check_at,
        )
        .values(next_check_at=found.next_check_at, failed_checks=found.failed_checks)
        .execution_options(synchronize_session=False)
    )


async def _spellings_of(db: AsyncSession, instance_url: str) -> set[str]:
    """Return the stored addresses of a server, which the older application kept as typed.

    A spelling in Unicode of an international name is found only if it is the given one.
    """
    server = server_of(instance_url)
    similar = await db.scalars(
        select(PlatformConnection.instance_url)
        .where(PlatformConnection.instance_url.icontains(server, autoescape=True))
        .distinct()
    )
    return {instance_url, *(each for each in similar if server_of(each) == server)}
