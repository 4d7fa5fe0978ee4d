"""Backup files: readable by their owner only, named when complete, never replaced."""

import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from quart_app.migration.outcome import Refused

_OWNER_ONLY = 0o600
_MARGIN_BYTES = 16 << 20  # what others write meanwhile, and the database's own journal


def refuse_as_backup(
    path: Path, database_files: Collection[Path], *, is_rehearsed: bool = False
) -> None:
    """Raise Refused if no new file can be made, or if the engine would use it as its own.

    `database_files` have their folders' real names. A rehearsal writes its backup elsewhere.
    """
    if path.parent.resolve() / path.name in database_files:
        raise Refused(
            f"{path} is the name of one of the database's own files, which SQLite may delete."
        )
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise Refused(
            f"The database records the backup's path, and {path} is not UTF-8. Choose another path"
            " with --backup."
        ) from None
    if os.path.lexists(path):
        raise Refused(f"{path} already exists, and a backup replaces no file.")
    if not path.parent.is_dir():
        raise Refused(f"The folder for the backup does not exist: {path.parent}.")
    if not is_rehearsed:
        _refuse_unwritable(path.parent)


def _refuse_unwritable(folder: Path) -> None:
    """Raise Refused if no file can be made there.

    Only trying tells: the rights do not show a read-only file system, an immutable folder, or a
    network's server that denies root.
    """
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Refused(
            f"The folder {folder} is not writable, so no backup can be made: {error.strerror}."
        ) from None


def refuse_full_disk(folder: Path, needed_bytes: int, what: str) -> None:
    """Raise Refused if too little space is free."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + _MARGIN_BYTES:
        raise Refused(
            f"There is not enough space for {what} in {folder}: it needs about"
            f" {needed_bytes + _MARGIN_BYTES:,} bytes, and {free:,} are free."
        )


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a file under another name, which is renamed when the block succeeds.

    The caller must sync it. A process that is killed leaves `.NAME.….partial` behind.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, _OWNER_ONLY)
    try:
        os.fchmod(descriptor, _OWNER_ONLY)  # whatever the umask took away
        os.close(descriptor)
        yield partial
        _name(partial, path)
    finally:
        for leftover in (partial, partial.with_name(f"{partial.name}-journal")):
            with suppress(FileNotFoundError):
                leftover.unlink()


def _name(partial: Path, path: Path) -> None:
    """Give the file its name; FileExistsError if another process was first."""
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        raise Refused(f"{path} already exists, and a backup replaces no file.") from None
    except OSError:  # a file system without hard links
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _OWNER_ONLY))
        partial.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def unused(path: Path) -> Path:
    """Return the path, with a number added if that name is taken."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
