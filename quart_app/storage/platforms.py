"""Queries about platform connections."""

from typing import Any

from sqlalchemy import ColumnElement, Integer, bindparam, delete, func, inspect, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only
from sqlalchemy.sql import text

from quart_app.model import PlatformConnection
from quart_app.storage.references import is_referred_to


async def connections_of(db: AsyncSession, user_id: int) -> list[PlatformConnection]:
    """Return the user's connections, by name."""
    return list(
        await db.scalars(
            select(PlatformConnection)
            .where(PlatformConnection.user_id == user_id)
            .order_by(PlatformConnection.name, PlatformConnection.id)
        )
    )


# What is shown of a connection; sealed tokens are of a size, and no page has a use for them.
_SHOWN = load_only(
    PlatformConnection.name,
    PlatformConnection.platform_type,
    PlatformConnection.instance_url,
    PlatformConnection.username,
    PlatformConnection.is_active,
    raiseload=True,
)


async def connections_shown(
    db: AsyncSession, user_id: int, *, most: int, after: str = "", sought: str = ""
) -> list[PlatformConnection]:
    """Return the first of the user's connections by name, as they are shown, or those `after` one.

    With `sought`, of those whose name, account or instance holds it.
    """
    query = select(PlatformConnection).where(PlatformConnection.user_id == user_id)
    if after:
        query = query.where(PlatformConnection.name > after)
    if sought:
        columns = (
            PlatformConnection.name,
            PlatformConnection.username,
            PlatformConnection.instance_url,
        )
        query = query.where(or_(*(each.icontains(sought, autoescape=True) for each in columns)))
    query = query.order_by(PlatformConnection.name, PlatformConnection.id).limit(most)
    return list(await db.scalars(query.options(_SHOWN)))


async def connection_of(
    db: AsyncSession, user_id: int, connection_id: int
) -> PlatformConnection | None:
    """Return the connection if it is that user's."""
    return await _one(
        db, PlatformConnection.id == connection_id, PlatformConnection.user_id == user_id
    )


async def first_usable_connection(
    db: AsyncSession, user_id: int, default_id: int | None
) -> PlatformConnection | None:
    """Return the user's default if it is switched on, else the oldest that is, else None."""
    whose = {"user_id": user_id, "default_id": default_id or 0}
    return await db.scalar(_FIRST_USABLE_CONNECTION, whose)


_FIRST_USABLE_CONNECTION = (
    select(PlatformConnection)
    .where(
        PlatformConnection.user_id == bindparam("user_id"), PlatformConnection.is_active.is_(True)
    )
    .order_by((PlatformConnection.id == bindparam("default_id")).desc(), PlatformConnection.id)
    .limit(1)
)


async def connection_named(db: AsyncSession, user_id: int, name: str) -> PlatformConnection | None:
    """Return the user's connection of that name."""
    return await _one(db, PlatformConnection.user_id == user_id, PlatformConnection.name == name)


async def connection_to_account(
    db: AsyncSession, user_id: int, instance_url: str, username: str
) -> PlatformConnection | None:
    """Return the user's connection to that account of that instance, in any case.

    Older records may hold the @ before a name.
    """
    return await _one(
        db,
        PlatformConnection.user_id == user_id,
        PlatformConnection.instance_url == instance_url,
        or_(
            func.lower(PlatformConnection.username) == func.lower(username),
            func.lower(PlatformConnection.username) == func.lower(f"@{username}"),
        ),
    )


async def add_connection(db: AsyncSession, connection: PlatformConnection) -> None:
    """Insert it under an id that no connection ever had.

    PostgreSQL's sequences never go back. SQLite would give the highest id again after its row is
    deleted, and a table that has rows can't be told otherwise, so a trigger remembers it.
    """
    if db.get_bind().dialect.name == "sqlite":
        connection.id = (await db.scalars(_NEXT_ID)).one()
    db.add(connection)
    await db.flush()


_NEXT_ID = text(
    "SELECT max(highest, coalesce((SELECT max(id) FROM platform_connections), 0)) + 1 AS id"
    " FROM platform_connection_ids"
).columns(id=Integer)


async def has_connections_table(db: AsyncSession) -> bool:
    """Tell whether the database is ours, or the older application's."""
    connection = await db.connection()
    return await connection.run_sync(
        lambda it: inspect(it).has_table(PlatformConnection.__tablename__)
    )


async def sealed_tokens(db: AsyncSession, *, most: int) -> list[str]:
    """Return so many of the newest and of the oldest access tokens that are Fernet tokens."""
    tokens: dict[int, str] = {}
    for order in (PlatformConnection.id.desc(), PlatformConnection.id):
        rows = await db.execute(
            select(PlatformConnection.id, PlatformConnection.access_token)
            .where(PlatformConnection.access_token.startswith(_FERNET))
            .order_by(order)
            .limit(most)
        )
        tokens |= dict(rows.all())
    return list(tokens.values())


# https://github.com/fernet/spec: the version 0x80, and a time before the year 2106, in base64url
_FERNET = "gAAAAA"


async def delete_connection(db: AsyncSession, connection: PlatformConnection) -> bool:
    """Delete it; False where rows of other tables refer to it, and then nothing was done."""
    if await is_referred_to(db, connection.id):
        return False
    try:
        async with db.begin_nested():
            await db.execute(
                delete(PlatformConnection).where(PlatformConnection.id == connection.id)
            )
    except IntegrityError:
        return False
    return True


async def _one(db: AsyncSession, *conditions: ColumnElement[Any]) -> PlatformConnection | None:
    return await db.scalar(select(PlatformConnection).where(*conditions).limit(1))
