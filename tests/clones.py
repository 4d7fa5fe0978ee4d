"""A fresh clone of this repository, and scripts/serve running in it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import httpx2

from tests.servers import ROOT, STARTUP_SECONDS

PARTS = ["quart_app", "scripts", "hypercorn.toml", "requirements.lock", "requirements-dev.lock"]


@dataclass(frozen=True)
class Serving:
    """A running scripts/serve: its address, and the file with its output."""

    url: str
    process: subprocess.Popen[bytes]
    said: Path

    def link(self, pattern: str) -> str:
        """Return the one match of this pattern in the output."""
        (found,) = re.findall(pattern, self.said.read_text())
        return str(found)


def clone_into(folder: Path) -> Path:
    """Return the files of a fresh clone; the interpreter is the one that runs this test."""
    clone = folder / "clone"
    clone.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, clone / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, clone / part)
    return clone


def command(*arguments: str) -> list[str]:
    return [sys.executable, "scripts/serve", *arguments]


def environ_in(clone: Path, **more: str) -> dict[str, str]:
    (clone.parent / "tmp").mkdir(exist_ok=True)
    return {"PATH": os.environ["PATH"], "TMPDIR": str(clone.parent / "tmp")} | more


@contextmanager
def serve(clone: Path, *arguments: str) -> Iterator[Serving]:
    """Serve on a free port of loopback until the block ends; then it must stop when asked."""
    said = clone.parent / f"said-{time.monotonic_ns()}"
    with socket.create_server(("127.0.0.1", 0)) as listener, said.open("wb") as stream:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            command(*arguments, "--", "--bind", f"fd://{listener.fileno()}"),
            cwd=clone,
            env=environ_in(clone, QUART_APP_PUBLIC_URL=url),
            stdout=stream,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
        )
    try:
        with httpx2.Client(timeout=STARTUP_SECONDS) as client:
            try:
                alive = client.get(f"{url}/healthz").status_code  # the socket is already listening
            except httpx2.TransportError:
                raise AssertionError(said.read_text()) from None
        assert alive == 200
        yield Serving(url, process, said)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STARTUP_SECONDS) == 0
        assert "Traceback" not in said.read_text()
    finally:
        process.kill()
        process.wait()


@contextmanager
def greeted(clone: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start the demo; return its first lines and its process."""
    with subprocess.Popen(
        command(*arguments),
        cwd=clone,
        env=environ_in(clone),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout
            yield (
                "".join(takewhile(lambda line: "All data is deleted" not in line, process.stdout)),
                process,
            )
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
