"""A check that the database is writable, without a lock that a writer may need."""

import asyncio
import os
import tempfile
from pathlib import Path

from sqlalchemy import text

from quart_app.storage.database import Database

# More than any of our transactions writes.
_PROBE_BYTES = 64 * 1024


async def is_writable(database: Database) -> bool:
    """Return whether a write is likely to succeed now. Raises Unavailable.

    On PostgreSQL the transaction shows it: it is read-only on a standby, too. SQLite shows it only
    by taking its one write lock, so this tries the folder of its file instead.
    """
    if database.url.get_backend_name() == "postgresql":
        async with database.read() as db:
            return bool(await db.scalar(text("SHOW transaction_read_only")) == "off")
    if database.url.query.get("mode") == "ro":
        return False
    async with database.read() as db:
        file = await db.scalar(text("SELECT file FROM pragma_database_list WHERE name = 'main'"))
    return await asyncio.to_thread(_can_grow, Path(file))


def _can_grow(path: Path) -> bool:
    """Return whether this file, or its log beside it, can be written to and grow.

    Fails where the disk or a quota is full, where the file system is read-only, and where the
    process may write no larger files (RLIMIT_FSIZE, hence the offset). The probe has no name and
    never reaches the disk.
    """
    try:
        files = [file for file in (path, Path(f"{path}-wal")) if file.exists()]
        size = max(file.stat().st_size for file in files)
        with tempfile.TemporaryFile(dir=path.parent, buffering=0) as probe:
            written = os.pwrite(probe.fileno(), bytes(_PROBE_BYTES), size)
        return written == _PROBE_BYTES and all(os.access(file, os.W_OK) for file in files)
    except (OSError, ValueError):
        return False
