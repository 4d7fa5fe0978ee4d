"""A backup file that says what it holds and shows whether it was changed.

    what the engine wrote                (SQLite: a database; PostgreSQL: COPY's text format)
    a JSON object, in one line           (the manifest)
    quart_app backup 1 <length> <sha256> (the seal, always 105 bytes with its line end)

`<length>` is that of the manifest's line in bytes, 20 digits; the SHA-256 is that of everything
before the seal. SQLite ignores bytes after a database's last page, so the whole file can be
opened as a database, too.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from quart_app.migration.outcome import Refused
from quart_app.text.printable import printable

_SEAL = re.compile(rb"quart_app backup 1 ([0-9]{20}) ([0-9a-f]{64})\n")
SEAL_BYTES = len("quart_app backup 1 ") + 20 + 1 + 64 + 1
_BLOCK_BYTES = 1 << 20
_LONGEST_MANIFEST_BYTES = 1 << 22
_LONGEST_CLAIM = 200  # characters of it that are shown
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\+00:00")
_MANIFEST = {
    "removal": str,
    "engine": str,
    "database": str,
    "made_at": str,
    "table": str,
    "rows": int,
}

Advance = Callable[[int], None]


@dataclass(frozen=True)
class SealedFile:
    """A backup's claims about itself; `verify` checks them."""

    path: Path
    manifest: dict[str, Any]
    payload_bytes: int
    size_bytes: int
    sha256: str

    @property
    def made_at(self) -> datetime:
        """When the backup was made, in UTC."""
        return datetime.fromisoformat(self.manifest["made_at"])

    def claim(self, name: str) -> str:
        """Return a value of the manifest for display: anybody may have written it."""
        value = str(self.manifest[name])
        return printable(value[:_LONGEST_CLAIM] + ("…" if len(value) > _LONGEST_CLAIM else ""))


def digest_of(file: BinaryIO, advance: Advance) -> "hashlib._Hash":
    """Read a file from its beginning and return the SHA-256, to be continued."""
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
        advance(len(block))
    return digest


def seal(file: BinaryIO, manifest: dict[str, Any], digest: "hashlib._Hash") -> str:
    """Append manifest and seal to the file, sync it, and return the SHA-256.

    `digest` is that of the contents so far.
    """
    line = _line_of(manifest)
    if len(line) > _LONGEST_MANIFEST_BYTES:
        raise Refused("The table's definition is too long for a backup. The database is unchanged.")
    digest.update(line)
    file.seek(0, os.SEEK_END)
    file.write(line + b"quart_app backup 1 %020d %s\n" % (len(line), digest.hexdigest().encode()))
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest()


def read_claims(path: Path) -> SealedFile:
    """Return a backup's claims about itself, from its last lines alone.

    The claims are not verified yet. Raises Refused if the file is not a backup.
    """
    with _opened(path) as file:
        return _read_claims(path, file)


def verify(sealed: SealedFile, see: Callable[[bytes], None]) -> None:
    """Read the whole file; raise Refused if its claims are wrong.

    `see` is called with each block before the seal.
    """
    changed = Refused(
        f"The backup {sealed.path} was changed after it was made: its checksum does not match."
        " Nothing was restored."
    )
    line = _line_of(sealed.manifest)
    with _opened(sealed.path) as file:
        if _read_claims(sealed.path, file) != sealed:
            raise changed
        digest, left = hashlib.sha256(), file.seek(-SEAL_BYTES, os.SEEK_END)
        file.seek(0)
        last = b""
        while left and (block := file.read(min(_BLOCK_BYTES, left))):
            digest.update(block)
            left -= len(block)
            last = (last + block)[-len(line) :]
            see(block)
    # The manifest must be in the bytes hashed now, not only in those read before.
    if digest.hexdigest() != sealed.sha256 or last != line:
        raise changed


def _line_of(manifest: dict[str, Any]) -> bytes:
    return json.dumps(manifest, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file; raise Refused for anything else and for unreadable files."""
    try:
        # Opening a named pipe would otherwise wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Refused(f"The path {path} is not a regular file. Nothing was restored.")
            yield file
    except OSError as error:
        raise Refused(f"The backup {path} can't be read: {error.strerror}.") from error


def _read_claims(path: Path, file: BinaryIO) -> SealedFile:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - SEAL_BYTES, 0))
    found = _SEAL.fullmatch(file.read(SEAL_BYTES))
    no_backup = Refused(
        f"The file {path} is not a backup by this script, or it was truncated or changed."
        " Nothing was restored."
    )
    if found is None:
        raise no_backup
    length, sha256 = int(found[1]), found[2].decode()
    payload_bytes = size - SEAL_BYTES - length
    if payload_bytes < 0 or length > _LONGEST_MANIFEST_BYTES:
        raise no_backup
    file.seek(payload_bytes)
    try:
        manifest = json.loads(file.read(length))
    except (ValueError, RecursionError):
        raise no_backup from None
    if not isinstance(manifest, dict) or not all(
        isinstance(manifest.get(name), kind) for name, kind in _MANIFEST.items()
    ):
        raise no_backup
    if not _is_time(manifest["made_at"]):
        raise no_backup
    return SealedFile(path, manifest, payload_bytes, size, sha256)


def _is_time(text: str) -> bool:
    """Return whether it is a time in UTC as we write it."""
    try:
        return _TIME.fullmatch(text) is not None and bool(datetime.fromisoformat(text))
    except ValueError:  # such as the 31st of February
        return False
