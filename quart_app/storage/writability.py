"""Check that the database is writable, without taking a lock that a writer may need."""

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

    On PostgreSQL, this asks whether transactions are read-only, as on a standby. On SQLite it
    would need the only write lock, so it writes a temporary file beside the database instead.
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
