"""scripts/* make their .venv on a bare interpreter, or say in one line why they can't."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT

USAGE = "usage: scripts/check [--fix]\n"  # said once the environment is there


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone in which nobody can lock .venv: its lock file can't be opened for writing."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "requirements-dev.lock", tmp_path)
    (tmp_path / ".venv.lock").mkdir()
    return tmp_path


def make_venv(clone: Path, python: str, *, complete: bool) -> None:
    """Put a shell script in the place of .venv's interpreter."""
    script = clone / ".venv/bin/python"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!/bin/sh\n{python}\n")
    script.chmod(0o755)
    if complete:
        digest = hashlib.sha256((clone / "requirements-dev.lock").read_bytes()).hexdigest()
        (clone / ".venv/requirements-dev.lock.installed").write_text(digest)


def run(clone: Path) -> str:
    """Run a script on an interpreter without packages; it must fail with what is returned."""
    ended = subprocess.run(
        [sys.executable, "-S", "scripts/check", "--wrong"],
        cwd=clone,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    return ended.stderr


def test_a_complete_environment_is_started_by_whoever_may_only_read(clone: Path) -> None:
    make_venv(clone, f'exec {sys.executable} "$@"', complete=True)
    assert run(clone) == USAGE


def test_an_environment_that_can_not_be_made_is_one_line(clone: Path) -> None:
    (line,) = run(clone).splitlines()
    assert "can't be made or used: Is a directory" in line


def test_an_interpreter_that_does_not_start_is_one_line(clone: Path) -> None:
    make_venv(clone, "", complete=True)
    (clone / ".venv/bin/python").chmod(0o644)
    (line,) = run(clone).splitlines()
    assert "can't be made or used: Permission denied" in line


def test_an_interruption_while_it_is_made_is_one_line(clone: Path) -> None:
    (clone / ".venv.lock").rmdir()
    make_venv(clone, '[ "$3" = install ] || exit 0; kill -INT $PPID; exit 1', complete=False)
    said = run(clone).splitlines()
    assert said == [
        "Installing what requirements-dev.lock names (once) …",
        "Interrupted while .venv was being made; the next start goes on with it.",
    ]
