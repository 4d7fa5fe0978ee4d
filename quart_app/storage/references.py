"""Find rows of other tables that refer to a platform connection, by any foreign key.

A successful DELETE would not show that there are none: a key may be ON DELETE CASCADE or SET NULL.
"""

import sqlite3
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, column, exists, select, table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import Avatar, PlatformAccount, PlatformConnection, User
from quart_app.storage.locks import is_postgresql

_TABLE = PlatformConnection.__tablename__
# This application's own keys: they clear a deleted default, and delete what belongs to the
# connection.
_OUR_KEYS = {
    (User.__tablename__, User.default_platform_connection_id.key),
    (PlatformAccount.__tablename__, PlatformAccount.platform_connection_id.key),
    (Avatar.__tablename__, Avatar.platform_connection_id.key),
}
_SQLITE_ERROR = 1  # https://www.sqlite.org/rescode.html: no such column, foreign key mismatch
# https://www.postgresql.org/docs/18/errcodes-appendix.html: insufficient_privilege, also raised
# where row-level security would hide rows
_NOT_ALLOWED = "42501"


class _Key(NamedTuple):
    """A foreign key; `pairs` are (referring column, column of platform_connections)."""

    schema: str | None
    table: str
    pairs: tuple[tuple[str, str], ...]


async def is_referred_to(db: AsyncSession, platform_connection_id: int) -> bool:
    """Return whether any row of another table refers to the connection, by any foreign key.

    The connection is locked until the transaction ends: on PostgreSQL nobody can then add a row
    that refers to it. On SQLite a transaction that writes is alone. Also True if a table
    can't be read: rows must not be deleted unseen.
    """
    await db.get(
        PlatformConnection, platform_connection_id, with_for_update=True, populate_existing=True
    )
    keys = await (_keys_on_postgresql if is_postgresql(db) else _keys_on_sqlite)(db)
    try:
        async with db.begin_nested():
            if is_postgresql(db):  # an error instead of rows that a policy hides
                await db.execute(text("SET LOCAL row_security = off"))
            for key in keys:
                if await db.scalar(select(exists().where(*_refers(key, platform_connection_id)))):
                    return True
    except DBAPIError as error:
        if not _is_unreadable(error):
            raise
        return True
    return False


def _refers(key: _Key, platform_connection_id: int) -> list[ColumnElement[Any]]:
    names = [name for name, _ in key.pairs]
    referring = table(key.table, *map(column, names), schema=key.schema).alias("referring")
    connections = table(_TABLE, *map(column, {"id", *(to for _, to in key.pairs)})).alias("gone")
    # SQLite compares with the collation of the left operand, and keys with their parent's.
    return [
        connections.c.id == platform_connection_id,
        *(connections.c[to] == referring.c[name] for name, to in key.pairs),
    ]


async def _keys_on_sqlite(db: AsyncSession) -> list[_Key]:
    rows = await db.execute(
        text(
            'SELECT m.name, k.id, k."from", coalesce(k."to", \'id\') FROM sqlite_master AS m,'
            " pragma_foreign_key_list(m.name) AS k WHERE m.type = 'table'"
            " AND m.sql NOT LIKE 'CREATE VIRTUAL%' AND lower(k.\"table\") = :table"
        ),
        {"table": _TABLE},
    )
    pairs: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for name, number, own, to in rows:
        if (name, own) not in _OUR_KEYS:
            pairs.setdefault((name, number), []).append((own, to))
    return [_Key(None, name, tuple(found)) for (name, _), found in pairs.items()]


async def _keys_on_postgresql(db: AsyncSession) -> list[_Key]:
    rows = await db.execute(
        text(
            "SELECT n.nspname, c.relname, n.nspname = current_schema(),"
            " (SELECT array_agg(ARRAY[own.attname::text, theirs.attname::text])"
            "  FROM unnest(k.conkey, k.confkey) AS pair (own, theirs)"
            "  JOIN pg_attribute AS own ON own.attrelid = k.conrelid AND own.attnum = pair.own"
            "  JOIN pg_attribute AS theirs"
            "   ON theirs.attrelid = k.confrelid AND theirs.attnum = pair.theirs)"
            " FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid"
            " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE k.contype = 'f' AND k.confrelid = to_regclass(:table) AND k.conparentid = 0"
        ),
        {"table": _TABLE},
    )
    return [
        _Key(schema, name, tuple((own, to) for own, to in pairs))
        for schema, name, is_here, pairs in rows
        if not (is_here and (name, pairs[0][0]) in _OUR_KEYS)
    ]


def _is_unreadable(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return error.orig.sqlite_errorcode == _SQLITE_ERROR
    return getattr(error.orig, "sqlstate", None) == _NOT_ALLOWED
