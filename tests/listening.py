"""Programs of the machine that tests start: whether they listen."""

import socket
import subprocess
import time
from pathlib import Path

STARTUP_SECONDS = 20


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
