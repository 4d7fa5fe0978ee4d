"""Real Hypercorn processes, served from this clone with its own hypercorn.toml."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from quart_app.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
STARTUP_SECONDS = 30


@dataclass(frozen=True)
class Server:
    """A Hypercorn process, its address and what it logs."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> int:
        """Ask it to finish, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STARTUP_SECONDS)


def environ_of(settings: Settings) -> dict[str, str]:
    """Return the environment from which the server reads these settings."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "QUART_APP_SECRET_KEY": settings.secret_key,
        "QUART_APP_SECRET_KEY_FALLBACKS": json.dumps(settings.secret_key_fallbacks),
        "QUART_APP_PLATFORM_ENCRYPTION_KEY": json.dumps(settings.platform_encryption_keys),
        "QUART_APP_DATABASE_URL": settings.database_url.render_as_string(hide_password=False),
        "QUART_APP_SESSION_DIGEST": settings.session_digest,
        "QUART_APP_REFUSE_AFTER_SECONDS": str(int(settings.refuse_after.total_seconds())),
    }


@contextmanager
def hypercorn(
    settings: Settings, folder: Path, *, environ: dict[str, str] | None = None
) -> Iterator[Server]:
    """Serve on a free port of loopback until the block ends; it must then end by itself.

    The socket is made here and inherited, as by socket activation, so that its port is known.
    """
    log = folder / f"server-{time.monotonic_ns()}.log"
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as stream:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "hypercorn", "--config", str(ROOT / "hypercorn.toml")),
                *("--bind", f"fd://{listener.fileno()}", "quart_app.app:create_app()"),
            ],
            cwd=folder,
            env=environ_of(settings) | (environ or {}),
            stdout=stream,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
        )
    server = Server(url, process, log)
    try:
        _wait_until_alive(server)
        yield server
        if process.poll() is None:
            assert server.stop() == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait_until_alive(server: Server) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            if httpx2.get(f"{server.url}/healthz", timeout=2).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"the server did not start: {server.log.read_text()}")
