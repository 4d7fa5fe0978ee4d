"""Programs of the machine that tests start on loopback, and end."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import lacking

STARTUP_SECONDS = 20


# Below the ports that the kernel gives to outgoing connections and to servers that ask for port 0:
# one of those could take the port before the program listens on it.
_PORTS = range(10_000, 32_768)


def free_port() -> int:
    """Return a port on which nothing listens, for a program that can't be given a socket."""
    while True:
        port = secrets.choice(_PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def program_of(config: pytest.Config, name: str, part: str) -> str:
    """Return the path of an installed program. `part` names it where the machine lacks it."""
    program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        lacking(config, part)
    return program


@contextmanager
def running(arguments: Sequence[str | Path], ports: Sequence[int], log: Path) -> Iterator[None]:
    """Run a program in the foreground until the block ends; its output is added to `log`.

    The block begins when it accepts connections on all these ports.
    """
    with log.open("ab") as stream:
        process = subprocess.Popen(arguments, stdout=stream, stderr=stream)
    try:
        for port in ports:
            wait_until_listening(process, port, log)
        yield
    finally:
        process.terminate()
        process.wait(STARTUP_SECONDS)


def wait_until_listening(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Return when the process accepts connections. Raises AssertionError, with its log, if not."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(log.read_text() if log.exists() else f"{process.args!r} did not start")
