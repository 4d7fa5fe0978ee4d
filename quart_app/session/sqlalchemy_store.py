"""The revocation store on SQLAlchemy's asyncio engine: SQLite and PostgreSQL.

Importing this module loads SQLAlchemy; the rest of the package does not.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import BigInteger, MetaData, Table, bindparam, delete, func, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.types import TypeEngine

from quart_app.session.batches import delete_in_batches
from quart_app.session.purge_clock import PurgeClock, newest
from quart_app.session.revocations import NewRevocation, RevocationRow
from quart_app.session.table import (
    CREATE_TABLE_LOCK,
    NOTIFY_CHANNEL,
    Transaction,
    append_in_commit_order,
    revocations_table,
    take_commit_order_lock,
)

_BATCH: Final = 500  # rows: some milliseconds of the event loop
_HEARTBEAT_SECONDS: Final = 5.0


class SQLAlchemyRevocationStore:
    """Keeps revocations in a table of an SQLite or PostgreSQL database.

    `database` is an asyncio engine, or its URL: `sqlite+aiosqlite:///…` or `postgresql+psycopg://…`.
    With `create_table` the table is made at its first use where it is missing. An application with
    migrations of its own makes the table by them and passes `table`, see `revocations_table`.

    `listen_engine` reaches the same database directly, where `database` leads to a pooler such as
    PgBouncer: in its transaction mode, LISTEN is lost silently. The caller disposes of it.

    A subclass may open transactions otherwise (`reading`, `writing`). `purge_clock` decides
    what has expired when rows are purged.
    """

    def __init__(
        self,
        database: AsyncEngine | str,
        *,
        table: Table | None = None,
        user_id_type: TypeEngine[Any] | type[TypeEngine[Any]] = BigInteger,
        create_table: bool = False,
        purge_clock: PurgeClock | None = None,
        listen_engine: AsyncEngine | None = None,
    ) -> None:
        self._owns_engine = isinstance(database, str)
        self.engine = create_async_engine(database) if isinstance(database, str) else database
        self._listen_engine = listen_engine or self.engine
        if table is None:
            table = revocations_table(MetaData(), user_id_type=user_id_type)
        self.table = table
        self.purge_clock = purge_clock or PurgeClock([newest(table.c.created_at, by=table.c.seq)])
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
    ) -> AsyncGenerator[list[RevocationRow]]:
        """Yield the revocations after `last`, which must be in the table as it is known."""
        await self._create_table_if_missing()
        while True:
            async with self.reading() as transaction:
                await self.purge_clock.look(transaction)
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
        async with self._listen_engine.connect() as connection:
            # In a transaction nothing is notified. So the driver itself is asked, in its autocommit
            # mode: SQLAlchemy may begin a transaction even then.
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            driver: Any = (await connection.get_raw_connection()).driver_connection
            await driver.execute(f"LISTEN {NOTIFY_CHANNEL}")
            while True:
                async for _ in driver.notifies(timeout=_HEARTBEAT_SECONDS):
                    on_notify()
                # A dead socket is silent: only a question to the server tells.
                async with asyncio.timeout(_HEARTBEAT_SECONDS):
                    await driver.execute("SELECT 1")

    async def purge(self, *, kept_for: timedelta) -> datetime:
        """Delete, a batch at a time, revocations that expired longer than `kept_for` ago.

        `purge_clock` decides, so a clock that is ahead deletes nothing early.
        """
        await self._create_table_if_missing()
        async with self.reading() as transaction:
            before = await self.purge_clock.now(transaction) - kept_for
        await delete_in_batches(self.writing, partial(self.delete_expired, before=before))
        return before

    async def delete_expired(self, transaction: Transaction, *, before: datetime, most: int) -> int:
        """Delete at most `most` revocations that expired before a time; return how many."""
        table = self.table
        expired = (
            select(table.c.seq)
            .where(table.c.expires_at < before)
            .order_by(table.c.expires_at)
            .limit(most)
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
