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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from quart_app.migration.outcome import Refused

_SEAL = re.compile(rb"quart_app backup 1 ([0-9]{20}) ([0-9a-f]{64})\n")
SEAL_BYTES = len("quart_app backup 1 ") + 20 + 1 + 64 + 1
_BLOCK_BYTES = 1 << 20
_LONGEST_MANIFEST_BYTES = 1 << 26

Advance = Callable[[int], None]


@dataclass(frozen=True)
class SealedFile:
    """A backup that was found to be whole."""

    path: Path
    manifest: dict[str, Any]
    payload_bytes: int
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
    line = json.dumps(manifest, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
    digest.update(line)
    file.seek(0, os.SEEK_END)
    file.write(line + b"quart_app backup 1 %020d %s\n" % (len(line), digest.hexdigest().encode()))
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest()


def open_sealed(path: Path, see: Callable[[bytes], None]) -> SealedFile:
    """Read the whole file and return what it is. Raises Refused for one that was changed.

    `see` is shown each block of what stands before the seal.
    """
    try:
        with path.open("rb") as file:
            return _open_sealed(path, file, see)
    except OSError as error:
        raise Refused(f"The backup {path} can't be read: {error.strerror}.") from error


def _open_sealed(path: Path, file: BinaryIO, see: Callable[[bytes], None]) -> SealedFile:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - SEAL_BYTES, 0))
    found = _SEAL.fullmatch(file.read())
    if found is None:
        raise Refused(
            f"The file {path} is no backup of this script's, or it was cut off or changed."
            " Nothing was restored."
        )
    length, sha256 = int(found[1]), found[2].decode()
    payload_bytes = size - SEAL_BYTES - length
    changed = Refused(
        f"The backup {path} was changed after it was made: its checksum does not fit."
        " Nothing was restored."
    )
    if payload_bytes < 0 or length > _LONGEST_MANIFEST_BYTES:
        raise changed
    digest, left = hashlib.sha256(), size - SEAL_BYTES
    file.seek(0)
    while left and (block := file.read(min(_BLOCK_BYTES, left))):
        digest.update(block)
        left -= len(block)
        see(block)
    if digest.hexdigest() != sha256:
        raise changed
    file.seek(payload_bytes)
    manifest: dict[str, Any] = json.loads(file.read(length))
    return SealedFile(path, manifest, payload_bytes, sha256)
