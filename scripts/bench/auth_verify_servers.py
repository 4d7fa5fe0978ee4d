"""The server and the nginx of `scripts/bench/auth_verify.py`, and the requests to them."""

import asyncio
import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.login_storm_servers import fill, processor_seconds, served

from quart_app.settings import read_database_url

_PASSWORD = "correct horse battery staple"  # noqa: S105 of a user of this benchmark
_STARTUP_SECONDS = 30
_WARM_UP_REQUESTS = 20
_NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000;
  upstream app {{ server 127.0.0.1:{app_port}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{port};
    root {folder}/files;
    location /plain/ {{ }}
    location /guarded/ {{ auth_request /verify; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    location = /healthz {{ proxy_pass http://app; }}
    location = /verify {{
      internal;
      proxy_pass http://app/auth/verify;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header Connection "";
    }}
  }}
}}
"""


class Measured(NamedTuple):
    """Seconds of each request, and our server's processor time for each verdict and /healthz."""

    plain: list[float]
    guarded: list[float]
    processor_seconds: float
    processor_seconds_of_healthz: float


def behind_nginx(folder: Path, requests: int, *, uvloop: bool) -> Measured | None:
    """Ask through nginx; None, with a line that says so, if this machine lacks nginx."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        print("\nnginx is not measured: this machine lacks it (Debian's package nginx).")
        return None
    for name in ("plain", "guarded"):
        (folder / "files" / name).mkdir(parents=True)
        (folder / "files" / name / "file").write_text("a file\n")
    url = read_database_url(f"sqlite:///{folder / 'served.db'}")
    asyncio.run(fill(url, 1, _PASSWORD))
    with served(url, folder, 1, uvloop=uvloop) as servers:
        ((app_port, pid),) = servers.items()
        cookie = _log_in(app_port)
        with _running(nginx, folder, app_port) as port:
            return _measure(port, pid, cookie, requests)


def _measure(port: int, pid: int, cookie: str, requests: int) -> Measured:
    plain: list[float] = []
    guarded: list[float] = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(_WARM_UP_REQUESTS):
        _seconds(connection, "/plain/file", cookie)
        _seconds(connection, "/guarded/file", cookie)
    before = processor_seconds([pid])
    for _ in range(requests):
        plain.append(_seconds(connection, "/plain/file", cookie))
        guarded.append(_seconds(connection, "/guarded/file", cookie))
    between = processor_seconds([pid])
    for _ in range(requests):
        _seconds(connection, "/healthz", cookie)
    after = processor_seconds([pid])
    connection.close()
    return Measured(plain, guarded, (between - before) / requests, (after - between) / requests)


def _seconds(connection: http.client.HTTPConnection, path: str, cookie: str) -> float:
    """Send a request, and return how long its answer took."""
    began = time.perf_counter()
    connection.request("GET", path, headers={"Cookie": cookie})
    response = connection.getresponse()
    response.read()
    if response.status != http.HTTPStatus.OK:
        raise SystemExit(f"{path}: unexpected answer {response.status}")
    return time.perf_counter() - began


def _log_in(port: int) -> str:
    """Return the cookies of a new session, as a browser sends them."""
    _wait_for(port)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = f'{{"username": "user0", "password": "{_PASSWORD}"}}'
    connection.request("POST", "/api/login", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != http.HTTPStatus.OK:
        raise SystemExit(f"The login failed: {response.status} {response.read()!r}")
    cookies = [value for name, value in response.getheaders() if name.lower() == "set-cookie"]
    connection.close()
    return "; ".join(each.partition(";")[0] for each in cookies)


@contextmanager
def _running(nginx: str, folder: Path, app_port: int) -> Iterator[int]:
    """Run nginx in front of the server; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    configuration, log = folder / "nginx.conf", folder / "nginx.log"
    configuration.write_text(_NGINX.format(folder=folder, port=port, app_port=app_port))
    with ExitStack() as stack:
        stream = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            [nginx, "-p", folder, "-c", configuration, "-e", "stderr"],
            stdout=stream,
            stderr=stream,
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        _wait_for(port)
        yield port


def _wait_for(port: int) -> None:
    """Wait until a connection to the port is accepted and answered."""
    deadline = time.monotonic() + _STARTUP_SECONDS
    while time.monotonic() < deadline:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_STARTUP_SECONDS)
            connection.request("GET", "/healthz")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.05)
        else:
            connection.close()
            return
    raise SystemExit(f"Nothing answers on port {port}.")
