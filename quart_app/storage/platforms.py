"""Queries about platform connections."""

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, bindparam, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload, load_only
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.sql import text

from quart_app.model import PlatformConnection, User
from quart_app.storage.references import is_referred_to

# The columns that pages show. Sealed tokens are left out: they are large, and no page needs them.
_SHOWN = load_only(
    PlatformConnection.name,
    PlatformConnection.platform_type,
    PlatformConnection.instance_url,
    PlatformConnection.username,
    PlatformConnection.is_active,
    PlatformConnection.created_at,
    PlatformConnection.last_used,
    raiseload=True,
)
_WITH_ACCOUNT = joinedload(PlatformConnection.account)


async def connections_shown(
    db: AsyncSession,
    user_id: int,
    *,
    most: int,
    after: str = "",
    ids: Collection[int] | None = None,
) -> list[PlatformConnection]:
    """Return the user's first connections by name, with the columns that pages show.

    They are limited to names that sort after `after`, and to `ids`, if given.
    """
    whose = {"user_id": user_id, "most": most} | ({"after": after} if after else {})
    query = _CONNECTIONS_AFTER if after else _FIRST_CONNECTIONS
    if ids is not None:
        query = query.where(PlatformConnection.id.in_(ids))
    return list(await db.scalars(query, whose))


_FIRST_CONNECTIONS = (
    select(PlatformConnection)
    .where(PlatformConnection.user_id == bindparam("user_id"))
    .order_by(PlatformConnection.name, PlatformConnection.id)
    .limit(bindparam("most", type_=Integer))
    .options(_SHOWN, _WITH_ACCOUNT)
)
_CONNECTIONS_AFTER = _FIRST_CONNECTIONS.where(PlatformConnection.name > bindparam("after"))


class SearchFields(NamedTuple):
    """The stored fields of a connection that a search compares."""

    id: int
    name: str
    username: str | None
    instance_url: str


async def search_fields_of_connections(
    db: AsyncSession, user_id: int, *, after: str, most: int
) -> list[SearchFields]:
    """Return the search fields of the user's first connections whose names sort after `after`."""
    columns = (
        PlatformConnection.id,
        PlatformConnection.name,
        PlatformConnection.username,
        PlatformConnection.instance_url,
    )
    query = select(*columns).where(PlatformConnection.user_id == user_id)
    if after:
        query = query.where(PlatformConnection.name > after)
    rows = await db.execute(
        query.order_by(PlatformConnection.name, PlatformConnection.id).limit(most)
    )
    return [SearchFields._make(row) for row in rows]


async def number_of_connections(db: AsyncSession, user_id: int, *, most: int) -> int:
    """Return how many connections the user has, at most `most`."""
    some = select(PlatformConnection.id).where(PlatformConnection.user_id == user_id).limit(most)
    return await db.scalar(select(func.count()).select_from(some.subquery())) or 0


async def accounts_of(db: AsyncSession, user_id: int) -> list[tuple[str, str]]:
    """Return the stored (instance_url, username) of each connection that has a username."""
    rows = await db.execute(
        select(PlatformConnection.instance_url, PlatformConnection.username).where(
            PlatformConnection.user_id == user_id, PlatformConnection.username.is_not(None)
        )
    )
    return [(instance_url, username) for instance_url, username in rows if username]


async def usable_default(db: AsyncSession, user: User) -> PlatformConnection | None:
    """Return the user's default; None if there is none or it is switched off."""
    default = await chosen_default(db, user)
    return default if default is not None and default.is_active else None


async def chosen_default(db: AsyncSession, user: User) -> PlatformConnection | None:
    """Return the connection that the user chose as the default, even if it is switched off."""
    if user.default_platform_connection_id is None:
        return None
    return await db.scalar(
        select(PlatformConnection)
        .where(
            PlatformConnection.id == user.default_platform_connection_id,
            PlatformConnection.user_id == user.id,
        )
        .options(_SHOWN, _WITH_ACCOUNT)
    )


async def connection_of(
    db: AsyncSession, user_id: int, platform_connection_id: int
) -> PlatformConnection | None:
    """Return the connection if it is that user's."""
    return await _one(
        db, PlatformConnection.id == platform_connection_id, PlatformConnection.user_id == user_id
    )


async def connection_by_id(
    db: AsyncSession, platform_connection_id: int, *, lock: bool = False
) -> PlatformConnection | None:
    """Return a connection of any user; `lock` keeps others from changing it meanwhile."""
    query = select(PlatformConnection).where(PlatformConnection.id == platform_connection_id)
    if lock:
        query = query.with_for_update(of=PlatformConnection)
    return await db.scalar(query.options(_WITH_ACCOUNT))


async def first_usable_connection(
    db: AsyncSession, user_id: int, default_id: int | None
) -> PlatformConnection | None:
    """Return the user's default if it is on, else the oldest that is on, else None."""
    whose = {"user_id": user_id, "default_id": default_id or 0}
    return await db.scalar(_FIRST_USABLE_CONNECTION, whose)


_FIRST_USABLE_CONNECTION = (
    select(PlatformConnection)
    .where(
        PlatformConnection.user_id == bindparam("user_id"), PlatformConnection.is_active.is_(True)
    )
    .order_by((PlatformConnection.id == bindparam("default_id")).desc(), PlatformConnection.id)
    .limit(1)
    .options(_SHOWN, _WITH_ACCOUNT)
)


async def connection_named(db: AsyncSession, user_id: int, name: str) -> PlatformConnection | None:
    """Return the user's connection of that name."""
    return await _one(db, PlatformConnection.user_id == user_id, PlatformConnection.name == name)


async def add_connection(db: AsyncSession, connection: PlatformConnection) -> None:
    """Insert it with an id that no connection ever had.

    PostgreSQL's sequences do this. SQLite would reuse the highest id after its row is deleted, and
    AUTOINCREMENT can't be added to an existing table, so a trigger stores the highest id.
    """
    if db.get_bind().dialect.name == "sqlite":
        connection.id = (await db.scalars(_NEXT_ID)).one()
    set_committed_value(connection, "account", None)
    db.add(connection)
    await db.flush()


_NEXT_ID = text(
    "SELECT max(highest, coalesce((SELECT max(id) FROM platform_connections), 0)) + 1 AS id"
    " FROM platform_connection_ids"
).columns(id=Integer)


async def delete_connection(db: AsyncSession, connection: PlatformConnection) -> bool:
    """Delete the connection; return False, with nothing done, if other tables refer to it."""
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
    query = select(PlatformConnection).where(*conditions).limit(1)
    return await db.scalar(query.options(_WITH_ACCOUNT))
