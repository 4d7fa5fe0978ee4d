"""The revocation store: writes revocations in the transaction of their cause, and follows them."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import Revocation
from quart_app.session.purge_clock import PurgeClock
from quart_app.session.revocations import NewRevocation, RevocationRow
from quart_app.session.sqlalchemy_store import SQLAlchemyRevocationStore
from quart_app.session.table import append_in_commit_order
from quart_app.storage.clock import new_purge_clock
from quart_app.storage.database import Database

FOLLOWER: Final = "quart_app revocations"  # the name that PostgreSQL shows for its connections


async def add_revocations(
    db: AsyncSession, revocations: Sequence[NewRevocation]
) -> list[RevocationRow]:
    """Insert revocations as the last statement of this transaction, and notify followers."""
    return await append_in_commit_order(db, Revocation.table(), revocations)


class DatabaseRevocationStore(SQLAlchemyRevocationStore):
    """A store with its own connections, so that following never waits for requests."""

    def __init__(
        self,
        database: Database,
        purge_clock: PurgeClock | None = None,
        *,
        listen_database: Database | None = None,
    ) -> None:
        """`listen_database` is the same database by a direct connection, if a pooler is between."""
        super().__init__(
            database.engine,
            table=Revocation.table(),
            purge_clock=purge_clock or new_purge_clock(),
            listen_engine=listen_database.engine if listen_database else None,
        )
        self._database, self._listen_database = database, listen_database

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a transaction that only reads. Raises Unavailable."""
        return self._database.read()

    def writing(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a transaction that may write. Raises Unavailable."""
        return self._database.begin()

    async def close(self) -> None:
        """Close the connections."""
        await self._database.close()
        if self._listen_database is not None:
            await self._listen_database.close()
