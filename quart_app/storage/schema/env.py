"""Alembic's environment: run the revisions on the caller's connection.

The command `alembic revision` passes no connection; then the database is that of the settings.
"""

import asyncio

from alembic import context
from sqlalchemy import Connection

from quart_app.model import Base
from quart_app.settings import Settings
from quart_app.storage.database import Database
from quart_app.storage.schema import VERSION_TABLE

_OURS = set(Base.metadata.tables)


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        # SQLite rolls back DDL here, because the driver begins no transaction (storage.database).
        transactional_ddl=True,
        # Only our own tables are compared.
        include_name=lambda name, kind, _parents: kind != "table" or name in _OURS,
    )
    # The transaction is the caller's: it commits all of it or nothing.
    context.run_migrations()


async def _run_by_settings() -> None:
    database = Database(Settings.from_environ().database_url, create=True)
    try:
        async with database.begin() as db:
            await (await db.connection()).run_sync(_run)
    finally:
        await database.close()


handed_in = context.config.attributes.get("connection")
if handed_in is not None:
    _run(handed_in)
else:
    asyncio.run(_run_by_settings())
