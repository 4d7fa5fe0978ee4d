"""The revocation store on SQLAlchemy's asyncio engine: SQLite and PostgreSQL.

Importing this module loads SQLAlchemy; the rest of the package does not.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
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
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.types import TypeEngine

from quart_app.session.claims import SESSION_ID_LENGTH
from quart_app.session.revocations import NewRevocation, RevocationRow

NOTIFY_CHANNEL: Final = "quart_app_revocations"
# Advisory locks of PostgreSQL; the numbers were chosen at random.
COMMIT_ORDER_LOCK: Final = 7225838017654202
CREATE_TABLE_LOCK: Final = 7225838017654210
REASON_LENGTH: Final = 32
_BATCH: Final = 500  # rows: some milliseconds of the event loop
_PURGE_PAUSE_SECONDS: Final = 0.1  # others want to write, too
_HEARTBEAT_SECONDS: Final = 5.0

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
    if _is_postgresql(transaction):
        await transaction.execute(select(func.pg_advisory_xact_lock(lock)))


async def notify(transaction: Transaction) -> None:
    """Notify followers on PostgreSQL, as soon as this transaction commits."""
    if _is_postgresql(transaction):
        await transaction.execute(select(func.pg_notify(NOTIFY_CHANNEL, "")))


def _is_postgresql(transaction: Transaction) -> bool:
    if isinstance(transaction, AsyncSession):
        return transaction.get_bind().dialect.name == "postgresql"
    return transaction.dialect.name == "postgresql"


async def database_now(transaction: Transaction) -> datetime:
    """Return the time by the database's clock, which all processes share."""
    clock = (
        "SELECT clock_timestamp() AT TIME ZONE 'utc' AS now"
        if _is_postgresql(transaction)
        else "SELECT strftime('%Y-%m-%d %H:%M:%f', 'now') AS now"
    )
    statement = text(clock).columns(now=UtcDateTime())
    now: datetime = (await transaction.execute(statement)).scalar_one()
    return now


class SQLAlchemyRevocationStore:
    """Keeps revocations in a table of an SQLite or PostgreSQL database.

    `database` is an asyncio engine, or its URL: `sqlite+aiosqlite:///…` or `postgresql+psycopg://…`.
    With `create_table` the table is made at its first use where it is missing. An application with
    migrations of its own makes the table by them and passes `table`, see `revocations_table`.
    """

    def __init__(
        self,
        database: AsyncEngine | str,
        *,
        table: Table | None = None,
        user_id_type: TypeEngine[Any] | type[TypeEngine[Any]] = BigInteger,
        create_table: bool = False,
    ) -> None:
        self._owns_engine = isinstance(database, str)
        self.engine = create_async_engine(database) if isinstance(database, str) else database
        if table is None:
            table = revocations_table(MetaData(), user_id_type=user_id_type)
        self.table = table
        self._is_table_missing = create_table
        self._creating = asyncio.Lock()
        columns = (table.c.seq, table.c.sid, table.c.user_id, table.c.epoch, table.c.not_before)
        # Built once: every poll runs it.
        self._from_seq = (
            select(*columns, table.c.expires_at, table.c.reason)
            .where(table.c.seq >= bindparam("seq"))
            .order_by(table.c.seq)
            .limit(_BATCH)
        )

    @property
    def supports_notify(self) -> bool:
        """Whether `listen` works: with PostgreSQL and psycopg."""
        return (self.engine.dialect.name, self.engine.dialect.driver) == ("postgresql", "psycopg")

    def reading(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction that only reads."""
        return self.engine.begin()

    def writing(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction that writes."""
        return self.engine.begin()

    async def append(self, revocations: Sequence[NewRevocation]) -> list[RevocationRow]:
        """Write revocations in a transaction of their own."""
        await self._create_table_if_missing()
        async with self.writing() as transaction:
            return await append_in_commit_order(transaction, self.table, revocations)

    async def revocations_after(
        self, last: RevocationRow | None
    ) -> AsyncIterator[list[RevocationRow]]:
        """Yield the revocations after `last`, which must be in the table as it is known."""
        await self._create_table_if_missing()
        while True:
            async with self.reading() as transaction:
                found = await transaction.execute(self._from_seq, {"seq": last.seq if last else 0})
                rows = [RevocationRow._make(row) for row in found]
            is_full = len(rows) == _BATCH
            if last is not None:
                if not rows or rows[0] != last:
                    last = None
                    continue
                del rows[0]
            if rows:
                last = rows[-1]
            yield rows
            if not is_full:
                return

    async def newest_epoch(self, user_id: Any) -> int:
        """Return the highest epoch that was written for a user; 0 where there is none."""
        await self._create_table_if_missing()
        async with self.reading() as transaction:
            newest = select(func.max(self.table.c.epoch)).where(self.table.c.user_id == user_id)
            return (await transaction.execute(newest)).scalar_one() or 0

    async def listen(self, on_notify: Callable[[], None]) -> None:
        """Call `on_notify` for each notification, until the connection fails (by any error)."""
        async with self.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text(f"LISTEN {NOTIFY_CHANNEL}"))
            driver: Any = (await connection.get_raw_connection()).driver_connection
            while True:
                async for _ in driver.notifies(timeout=_HEARTBEAT_SECONDS):
                    on_notify()
                # A dead socket is silent: only a question to the server tells.
                async with asyncio.timeout(_HEARTBEAT_SECONDS):
                    await connection.execute(text("SELECT 1"))

    async def purge(self, *, kept_for: timedelta) -> datetime:
        """Delete, a batch at a time, what expired longer than `kept_for` ago.

        By the earlier of the database's clock and this machine's: one that is ahead alone
        deletes nothing early.
        """
        await self._create_table_if_missing()
        async with self.reading() as transaction:
            before = min(await database_now(transaction), datetime.now(UTC)) - kept_for
        deleted = _BATCH
        while deleted == _BATCH:
            async with self.writing() as transaction:
                deleted = await self.delete_expired(transaction, before)
            await asyncio.sleep(_PURGE_PAUSE_SECONDS)
        return before

    async def delete_expired(self, transaction: Transaction, before: datetime) -> int:
        """Delete one batch of what expired before a time; return how many rows that were."""
        table = self.table
        expired = (
            select(table.c.seq)
            .where(table.c.expires_at < before)
            .order_by(table.c.expires_at)
            .limit(_BATCH)
        )
        deleted = await transaction.execute(
            delete(table).where(table.c.seq.in_(expired)).returning(table.c.seq)
        )
        return len(deleted.all())

    async def close(self) -> None:
        """Close the engine's connections, if the store made the engine."""
        if self._owns_engine:
            await self.engine.dispose()

    async def _create_table_if_missing(self) -> None:
        if not self._is_table_missing:
            return
        async with self._creating, self.writing() as transaction:
            # Two processes that start at once would both find the table missing.
            await take_commit_order_lock(transaction, CREATE_TABLE_LOCK)
            await transaction.execute(CreateTable(self.table, if_not_exists=True))
            for index in self.table.indexes:
                await transaction.execute(CreateIndex(index, if_not_exists=True))
        self._is_table_missing = False
