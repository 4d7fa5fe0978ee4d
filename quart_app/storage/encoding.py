"""Refuse text that a PostgreSQL database can't store because its encoding is not UTF-8."""

from sqlalchemy import Text, cast, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import InvalidInput
from quart_app.storage.locks import is_postgresql


async def refuse_unstorable(db: AsyncSession, **fields: str | None) -> None:
    """Raise InvalidInput for the first field whose text the database would not store unchanged.

    The database echoes the text, with a substitute for each character that it can't store.
    """
    if not is_postgresql(db):
        return
    for field, value in fields.items():
        if value is None or value.isascii():
            continue
        if await db.scalar(select(cast(literal(value), Text))) != value:
            raise InvalidInput(
                "The database can't store one of these characters: its encoding is not UTF-8.",
                field=field,
            )
