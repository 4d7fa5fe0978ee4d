"""File systems of their own for tests: small ones to fill, and read-only ones."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import lacking


@contextmanager
def mounted(config: pytest.Config, folder: Path, options: str) -> Iterator[Path]:
    """Mount an empty file system (tmpfs) at a new folder until the block ends; needs root."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        lacking(config, "the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
