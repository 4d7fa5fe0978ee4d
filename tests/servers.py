"""Real Hypercorn processes, served from this clone with its own hypercorn.toml."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import URL
from standins.listener import LOOPBACK, ReservedPort

from quart_app.settings import Settings
from tests.forking import popen

ROOT = Path(__file__).resolve().parent.parent
STARTUP_SECONDS = 30
ANSWER_SECONDS = 20
APP = "quart_app.app:create_app()"


def cookieless_client(url: str) -> httpx2.Client:
    """Return a client that keeps no cookies, for tests that copy and replay them."""
    jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return httpx2.Client(base_url=url, cookies=jar, timeout=ANSWER_SECONDS)


@dataclass(frozen=True)
class Server:
    """A Hypercorn process, its address and its log."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    client: httpx2.Client = field(repr=False)

    def ask(
        self, method: str, path: str, cookie: str | None = None, **more: Any
    ) -> httpx2.Response:
        """Send a request with this value of the session cookie, and no other cookie."""
        headers = {} if cookie is None else {"Cookie": f"session={cookie}"}
        return self.client.request(method, path, headers=headers, **more)

    def status(self, cookie: str) -> int:
        """Return the status of a session check."""
        return self.ask("GET", "/api/session_state", cookie).status_code


def environ_of(settings: Settings) -> dict[str, str]:
    """Return the environment variables for these settings."""
    ca_file = {"QUART_APP_EXTRA_CA_FILE": str(settings.extra_ca_file)}
    listen_url = settings.database_listen_url
    listen = {"QUART_APP_DATABASE_LISTEN_URL": _rendered(listen_url)} if listen_url else {}
    return (
        (ca_file if settings.extra_ca_file else {})
        | listen
        | {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "QUART_APP_SECRET_KEY": settings.secret_key,
            "QUART_APP_SECRET_KEY_FALLBACKS": json.dumps(settings.secret_key_fallbacks),
            "QUART_APP_PLATFORM_ENCRYPTION_KEY": json.dumps(settings.platform_encryption_keys),
            "QUART_APP_DATABASE_URL": _rendered(settings.database_url),
            "QUART_APP_PUBLIC_URL": settings.public_url,
            "QUART_APP_SESSION_DIGEST": settings.session_digest,
            "QUART_APP_FAILED_LOGIN_SECONDS": str(int(settings.failed_login.total_seconds())),
            "QUART_APP_REFUSE_AFTER_SECONDS": str(int(settings.refuse_after.total_seconds())),
            "QUART_APP_LOGIN_QUEUE_SECONDS": str(int(settings.login_queue.total_seconds())),
            "QUART_APP_TRUSTED_PROXIES": str(settings.trusted_proxies),
            "QUART_APP_METRICS": settings.metrics,
            "QUART_APP_LOG_FORMAT": settings.log_format,
            "QUART_APP_GUARDED_PATHS": json.dumps(settings.guarded_paths),
            "QUART_APP_ALLOWED_PRIVATE_NETWORKS": json.dumps(
                [str(network) for network in settings.allowed_private_networks]
            ),
            "QUART_APP_ALLOWED_PRIVATE_PORTS": json.dumps(
                [f"{ports[0]}-{ports[-1]}" for ports in settings.allowed_private_ports]
            ),
        }
    )


def _rendered(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@contextmanager
def hypercorn(
    settings: Settings,
    folder: Path,
    *,
    environ: dict[str, str] | None = None,
    port: int = 0,
    worker_class: str = "asyncio",
) -> Iterator[Server]:
    """Serve on loopback until the block ends; the process must then exit normally.

    Port 0 means a free port.
    """
    with hypercorns(1, settings, folder, environ=environ, port=port, worker_class=worker_class) as (
        server,
    ):
        yield server


@contextmanager
def hypercorn_at_public_url(settings: Settings, folder: Path) -> Iterator[Server]:
    """Serve, as `hypercorn` does, at the address that other servers send browsers back to."""
    reserved = ReservedPort()
    environ = {"QUART_APP_PUBLIC_URL": f"http://{LOOPBACK}:{reserved.number}"}
    with hypercorn(settings, folder, environ=environ, port=reserved.number) as server:
        yield server
    reserved.release()


@contextmanager
def hypercorns(
    count: int,
    settings: Settings,
    folder: Path,
    *,
    environ: dict[str, str] | None = None,
    app: str = APP,
    port: int = 0,
    worker_class: str = "asyncio",
) -> Iterator[list[Server]]:
    """Serve with this many processes, each on a port of its own, as `hypercorn` does."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                _started(
                    settings, folder, environ or {}, app=app, port=port, worker_class=worker_class
                )
            )
            for _ in range(count)
        ]
        for server in servers:
            _wait_until_alive(server)
        yield servers
        for server in servers:  # all at once, before each is waited for
            if server.process.returncode is None:  # the test has not stopped it
                server.process.send_signal(signal.SIGTERM)


@contextmanager
def _started(
    settings: Settings,
    folder: Path,
    environ: dict[str, str],
    *,
    app: str,
    port: int,
    worker_class: str,
) -> Iterator[Server]:
    """Serve with one process, which may not be ready yet.

    The socket is created here and inherited, as with socket activation, so that its port is known.
    """
    log = folder / f"server-{time.monotonic_ns()}.log"
    with socket.create_server(("127.0.0.1", port)) as listener, log.open("wb") as stream:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = popen(
            [
                *(sys.executable, "-m", "hypercorn", "--config", str(ROOT / "hypercorn.toml")),
                *("--worker-class", worker_class, "--bind", f"fd://{listener.fileno()}", app),
            ],
            cwd=folder,
            env=environ_of(settings) | environ,
            stdout=stream,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
        )
    try:
        with cookieless_client(url) as client:
            server = Server(url, process, log, client)
            yield server
        # Signalled only once: a second signal could arrive after the handlers were removed.
        assert process.wait(STARTUP_SECONDS) == 0, log.read_text()
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
