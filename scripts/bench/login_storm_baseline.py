"""The older revision that `scripts/bench/login_storm.py --strict` measures in the same run."""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from environment import ROOT
from sqlalchemy import URL

REVISION = "13d5dfc"
_FILL = """
import asyncio, sys
from login_storm_servers import fill
from sqlalchemy.engine import make_url
asyncio.run(fill(make_url(sys.argv[1]), int(sys.argv[2]), sys.stdin.read()))
"""


def extracted(folder: Path) -> Path:
    """Write the revision's files into `folder` and return it. Exits if this clone lacks it.

    It runs with the packages of this environment, which has all of its own, in the same releases.
    """
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", "--format=tar", REVISION],  # noqa: S607 git is in PATH
        capture_output=True,
        check=False,
    )
    if archive.returncode != 0:
        sys.exit(
            f"Revision {REVISION}, which --strict compares with, is not in this clone."
            " If its history is shallow, run `git fetch --unshallow`."
        )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def fill(root: Path, url: URL, users: int, password: str) -> None:
    """Create the revision's schema and its users, by its own code."""
    subprocess.run(
        [sys.executable, "-c", _FILL, url.render_as_string(hide_password=False), str(users)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{root}:{root / 'scripts'}"},
        cwd=root,
        input=password,
        text=True,
        check=True,
    )
