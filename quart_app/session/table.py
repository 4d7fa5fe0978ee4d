"""The table of revocations in an SQLite or PostgreSQL database, and how rows are written to it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    func,
    insert,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.types import TypeEngine

from quart_app.session.claims import SESSION_ID_LENGTH
from quart_app.session.revocations import NewRevocation, RevocationRow

NOTIFY_CHANNEL: Final = "quart_app_revocations"
# Advisory locks of PostgreSQL; the numbers were chosen at random.
COMMIT_ORDER_LOCK: Final = 7225838017654202
CREATE_TABLE_LOCK: Final = 7225838017654210
REASON_LENGTH: Final = 32

# What a statement can be run on: a transaction of the store's own, or the application's.
Transaction = AsyncConnection | AsyncSession


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, kept as naive UTC."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time as the column keeps it."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time as the application sees it."""
        return None if value is None else value.replace(tzinfo=UTC)


def revocations_table(
    metadata: MetaData,
    name: str = "revocations",
    *,
    user_id_type: TypeEngine[Any] | type[TypeEngine[Any]] = BigInteger,
) -> Table:
    """Return the table's definition; `user_id_type` is that of the application's user ids."""
    return Table(
        name,
        metadata,
        # SQLite numbers rows by itself only in a column whose type is INTEGER to the letter.
        Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("sid", String(SESSION_ID_LENGTH)),
        Column("user_id", user_id_type),
        Column("epoch", Integer),
        Column("not_before", UtcDateTime),
        Column("expires_at", UtcDateTime, nullable=False, index=True),
        Column("reason", String(REASON_LENGTH), nullable=False),
        Column("created_at", UtcDateTime, nullable=False),
    )


async def append_in_commit_order(
    transaction: Transaction, table: Table, revocations: Sequence[NewRevocation]
) -> list[RevocationRow]:
    """Write revocations as the last thing that the caller's transaction does, and notify.

    A sequence's numbers become visible out of order where the transaction that drew the lower one
    commits later; a follower that has read the higher would never see it. So on PostgreSQL one
    transaction at a time goes from here to its commit, and the order of the numbers is the order of
    commits. On SQLite there is only one writer anyway.
    """
    if isinstance(transaction, AsyncSession):
        await transaction.flush()
    await take_commit_order_lock(transaction, COMMIT_ORDER_LOCK)
    seqs = await transaction.execute(
        insert(table).returning(table.c.seq, sort_by_parameter_order=True),
        [vars(each) for each in revocations],
    )
    rows = [
        RevocationRow(
            *(seq, each.sid, each.user_id, each.epoch, each.not_before),
            *(each.expires_at, each.reason),
        )
        for seq, each in zip(seqs.scalars().all(), revocations, strict=True)
    ]
    await notify(transaction)
    return rows


async def take_commit_order_lock(transaction: Transaction, lock: int) -> None:
    """Wait, on PostgreSQL, for the other transactions that hold `lock` until they commit."""
    if is_postgresql(transaction):
        await transaction.execute(select(func.pg_advisory_xact_lock(lock)))


async def notify(transaction: Transaction) -> None:
    """Notify followers on PostgreSQL, as soon as this transaction commits."""
    if is_postgresql(transaction):
        await transaction.execute(select(func.pg_notify(NOTIFY_CHANNEL, "")))


def is_postgresql(transaction: Transaction) -> bool:
    """Return whether the transaction is on PostgreSQL, not on SQLite."""
    if isinstance(transaction, AsyncSession):
        return transaction.get_bind().dialect.name == "postgresql"
    return transaction.dialect.name == "postgresql"
