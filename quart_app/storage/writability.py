"""Check that the database is writable, without taking a lock that a writer may need."""

import asyncio
import os
import tempfile
from pathlib import Path

from sqlalchemy import text

from quart_app.storage.database import Database

# More than any of our transactions writes.
_PROBE_BYTES = 64 * 1024
# PostgreSQL keeps the rows of a function in memory up to work_mem, and then in a temporary file.
_SMALL_MEMORY = text("SET LOCAL work_mem = '64kB'")
_TEMPORARY_FILE = text("SELECT count(*) FROM generate_series(1, 5000)")


async def is_writable(database: Database) -> bool:
    """Return whether a write is likely to succeed now. Raises Unavailable.

    A real write would take SQLite's only write lock, and leave dead rows in PostgreSQL, so this
    writes a temporary file: beside SQLite's file, or on PostgreSQL's disk with the database.
    Transactions of PostgreSQL may also be read-only, as on a standby.
    """
    if database.url.get_backend_name() == "postgresql":
        async with database.read() as db:
            if await db.scalar(text("SHOW transaction_read_only")) != "off":
                return False
            await db.execute(_SMALL_MEMORY)
            await db.execute(_TEMPORARY_FILE)  # fails if the disk is full
            return True
    if database.url.query.get("mode") == "ro":
        return False
    async with database.read() as db:
        file = await db.scalar(text("SELECT file FROM pragma_database_list WHERE name = 'main'"))
    return await asyncio.to_thread(_can_grow, Path(file))


def _can_grow(path: Path) -> bool:
    """Return whether this file and its write-ahead log can be written to and can grow.

    False if the disk or a quota is full, the file system is read-only, or the file size limit is
    reached (RLIMIT_FSIZE, hence the offset). The probe has no name and is never synced to disk.
    """
    try:
        files = [file for file in (path, Path(f"{path}-wal")) if file.exists()]
        size = max(file.stat().st_size for file in files)
        with tempfile.TemporaryFile(dir=path.parent, buffering=0) as probe:
            written = os.pwrite(probe.fileno(), bytes(_PROBE_BYTES), size)
        return written == _PROBE_BYTES and all(os.access(file, os.W_OK) for file in files)
    except (OSError, ValueError):
        return False
