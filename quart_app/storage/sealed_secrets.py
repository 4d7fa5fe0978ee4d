"""Queries about all stored secrets: which columns hold them, and replacing one by one."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Column, Table, func, inspect, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import (
    AppRegistration,
    Base,
    PlatformAccount,
    PlatformAuthorization,
    PlatformConnection,
)

# https://github.com/fernet/spec: the version 0x80, and a time before the year 2106, in base64url
_FERNET: Final = "gAAAAA"


class SecretColumns(NamedTuple):
    """The columns of a table that hold Fernet tokens, and its primary key, a number."""

    table: Table
    columns: tuple[Column[str], ...]

    @property
    def key(self) -> Column[int]:
        """The primary key."""
        (key,) = self.table.primary_key.columns
        return key


def _secrets_of(model: type[Base], *names: str) -> SecretColumns:
    table = model.table()
    return SecretColumns(table, tuple(table.c[name] for name in names))


CONNECTION_SECRETS: Final = _secrets_of(
    PlatformConnection, "access_token", "client_key", "client_secret"
)
ACCOUNT_SECRETS: Final = _secrets_of(PlatformAccount, "refresh_token")
ALL_SECRETS: Final = (
    CONNECTION_SECRETS,
    ACCOUNT_SECRETS,
    _secrets_of(
        PlatformAuthorization, "client_secret", "code_verifier", "access_token", "refresh_token"
    ),
    _secrets_of(AppRegistration, "client_secret"),
)


class StoredSecret(NamedTuple):
    """A Fernet token, and where it is stored."""

    row_id: int
    column: Column[str]
    token: str


async def has_table_of(db: AsyncSession, secrets: SecretColumns) -> bool:
    """Return whether the table exists, which the older application's database may lack."""
    connection = await db.connection()
    return await connection.run_sync(lambda it: inspect(it).has_table(secrets.table.name))


async def sealed_tokens(db: AsyncSession, secrets: SecretColumns, *, most: int) -> list[str]:
    """Return the tokens of up to `most` of the newest and `most` of the oldest rows, by column."""
    tokens: dict[tuple[str, int], str] = {}
    for column in secrets.columns:
        for order in (secrets.key.desc(), secrets.key):
            rows = await db.execute(
                select(secrets.key, column)
                .where(column.startswith(_FERNET))
                .order_by(order)
                .limit(most)
            )
            tokens |= {(column.name, row_id): token for row_id, token in rows}
    return list(tokens.values())


async def number_of_rows(db: AsyncSession, secrets: SecretColumns) -> int:
    """Return the number of rows that hold a token."""
    holds = or_(*(column.startswith(_FERNET) for column in secrets.columns))
    return await db.scalar(select(func.count(secrets.key)).where(holds)) or 0


async def rows_of_secrets(
    db: AsyncSession, secrets: SecretColumns, *, after: int, most: int
) -> Sequence[Sequence[StoredSecret]]:
    """Return the tokens of the first rows whose key is greater than `after`, by row."""
    holds = or_(*(column.startswith(_FERNET) for column in secrets.columns))
    rows = await db.execute(
        select(secrets.key, *secrets.columns)
        .where(secrets.key > after, holds)
        .order_by(secrets.key)
        .limit(most)
    )
    return [
        [
            StoredSecret(row_id, column, token)
            for column, token in zip(secrets.columns, tokens, strict=True)
            if str(token or "").startswith(_FERNET)
        ]
        for row_id, *tokens in rows
    ]


async def replace_secret(db: AsyncSession, secret: StoredSecret, token: str) -> bool:
    """Store another token in place of this one; return False if it is no longer there."""
    table = secret.column.table
    assert isinstance(table, Table)  # noqa: S101 for mypy
    (key,) = table.primary_key.columns
    replaced = await db.scalar(
        update(table)
        .where(key == secret.row_id, secret.column == secret.token)
        .values({secret.column: token})
        .returning(key)
    )
    return replaced is not None
