"""A backup file that says what it holds and shows whether it was changed.

    what the engine wrote                (SQLite: a database; PostgreSQL: COPY's text format)
    a JSON object, in one line           (the manifest)
    quart_app backup 1 <length> <sha256> (the seal, always 105 bytes with its line end)

`<length>` is that of the manifest's line in bytes, 20 digits; the SHA-256 is that of everything
before the seal. SQLite takes no notice of what stands after a database's last page, so the whole
file can be opened as a database, too.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from quart_app.migration.outcome import Refused

_SEAL = re.compile(rb"quart_app backup 1 ([0-9]{20}) ([0-9a-f]{64})\n")
SEAL_BYTES = len("quart_app backup 1 ") + 20 + 1 + 64 + 1
_BLOCK_BYTES = 1 << 20
_LONGEST_MANIFEST_BYTES = 1 << 22
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
    """What a backup says of itself; `verify` finds out whether it is true."""

    path: Path
    manifest: dict[str, Any]
    payload_bytes: int
    size_bytes: int
    sha256: str


def digest_of(file: BinaryIO, advance: Advance) -> "hashlib._Hash":
    """Read a file from its beginning and return the SHA-256, which can go on."""
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
        advance(len(block))
    return digest


def seal(file: BinaryIO, manifest: dict[str, Any], digest: "hashlib._Hash") -> str:
    """Append manifest and seal to what stands in the file, and return the SHA-256.

    `digest` is that of what stands there. Then the file is synced.
    """
    line = _line_of(manifest)
    if len(line) > _LONGEST_MANIFEST_BYTES:
        raise Refused("The table's definition is too long for a backup. The database is as it was.")
    digest.update(line)
    file.seek(0, os.SEEK_END)
    file.write(line + b"quart_app backup 1 %020d %s\n" % (len(line), digest.hexdigest().encode()))
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest()


def read_claims(path: Path) -> SealedFile:
    """Return what a backup says of itself, from its last lines alone.

    Raises Refused for what is no backup. Nothing of it is proved yet.
    """
    with _opened(path) as file:
        return _read_claims(path, file)


def verify(sealed: SealedFile, see: Callable[[bytes], None]) -> None:
    """Read the whole file; raise Refused where it is not what it said it was.

    `see` is shown each block of what stands before the seal.
    """
    changed = Refused(
        f"The backup {sealed.path} was changed after it was made: its checksum does not fit."
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
    # The manifest must be that of the bytes that were hashed, not only of those read before.
    if digest.hexdigest() != sealed.sha256 or last != line:
        raise changed


def _line_of(manifest: dict[str, Any]) -> bytes:
    return json.dumps(manifest, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file; raise Refused for anything else, and for what can't be read."""
    try:
        # Opening a named pipe would otherwise wait for somebody who writes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Refused(f"{path} is not a file, so it is no backup. Nothing was restored.")
            yield file
    except OSError as error:
        raise Refused(f"The backup {path} can't be read: {error.strerror}.") from error


def _read_claims(path: Path, file: BinaryIO) -> SealedFile:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - SEAL_BYTES, 0))
    found = _SEAL.fullmatch(file.read(SEAL_BYTES))
    no_backup = Refused(
        f"The file {path} is no backup of this script's, or it was cut off or changed."
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
    return SealedFile(path, manifest, payload_bytes, size, sha256)
