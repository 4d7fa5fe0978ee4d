#!/usr/bin/env python3
"""Measure the processor time of each public route, with the most expensive input we know.

Requests go to a server process over loopback. Its processor time in all threads is divided by the
number of requests, and compared with that of `GET /healthz` in the same run. The goal is at most
four times as much. Hashing a password is not measured.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environment import ROOT, run_in_environment
from parsers import PrintableParser

parser = PrintableParser(
    prog="scripts/bench/public_routes.py",
    description=__doc__,
)
parser.add_argument("--requests", type=int, default=60, help="requests per case (60)")
parser.add_argument("--strict", action="store_true", help="exit with 1 if the goal is missed")
parser.add_argument("--quick", action="store_true", help="run with tiny counts, as a smoke test")
arguments = parser.parse_args()
if arguments.quick:
    arguments.requests = 2
if arguments.requests < 1:
    parser.error("--requests must be 1 or more")

run_in_environment("requirements-dev.lock")

import asyncio
import http.client
import os
import secrets
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from cryptography.fernet import Fernet

from quart_app.settings import read_database_url
from quart_app.storage.schema import upgrade_schema
from quart_app.web.rendering.assets import read_tree

MAX_RATIO = 4.0
BODY_BYTES = 64 * 1024
HEAD_BYTES = 15 * 1024
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
REPORTS = {"Content-Type": "application/reports+json"}

_EXPENSIVE_HEADERS = {
    "cookies": {"Cookie": "; ".join(f"{i}=" for i in range(2000))[:HEAD_BYTES]},
    "one long cookie": {"Cookie": f"session={'e' * HEAD_BYTES}"},
    "quoted cookies": {"Cookie": ('a="\\073"; ' * 3000)[:HEAD_BYTES]},
    "languages": {"Accept-Language": ",".join(f"a{i};q=0.5" for i in range(3000))[:HEAD_BYTES]},
    "accepted types": {"Accept": ",".join(f"a/{i};q=0.1" for i in range(3000))[:HEAD_BYTES]},
    "encodings": {"Accept-Encoding": ",".join(f"a{i};q=0.1" for i in range(3000))[:HEAD_BYTES]},
    "fields": {f"X-{i}": "a" * 100 for i in range(90)},
    "user agent": {"User-Agent": "Mozilla/5.0 (" * 1000},
}


class Case(NamedTuple):
    """A request, named for what is expensive in it."""

    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


class Measured(NamedTuple):
    """The cost of one request of a case, and the status of its answer."""

    case: Case
    status: int
    milliseconds: float


def cases() -> Iterator[Case]:
    """Yield every public route with expensive inputs; the first case is the reference."""
    yield Case("plain", "GET", "/healthz", {})
    yield Case("plain", "GET", "/readyz", {})
    yield from pages()
    yield from static_files()
    forged = {"Cookie": f"session_permit={'e' * 4000}.{'f' * 40}"}
    yield Case("forged permit", "GET", "/login/new_password", forged)
    yield Case("forged permit", "POST", "/login/new_password", FORM | forged, b"new_password=a")
    for path in ("/login", "/login/new_password", "/setup", "/reset", "/logout"):
        yield from posted_forms(path)
    for path in ("/api/login", "/api/logout"):
        yield from posted_json(path, JSON)
    yield from posted_json("/api/csp_reports", REPORTS)
    report = b'{"type":"csp-violation","body":{"blockedURL":"https://[::1]/' + b"a" * 9 + b'"}},'
    yield Case(
        "reports", "POST", "/api/csp_reports", REPORTS, b"[" + report * 700 + report[:-1] + b"]"
    )


def pages() -> Iterator[Case]:
    """Yield requests of pages with expensive headers and addresses."""
    for path in (
        *("/login", "/login/new_password", "/setup?token=x", "/reset?token=x"),
        *("/", "/nowhere"),
    ):
        yield Case("plain", "GET", path, {})
        for name, headers in _EXPENSIVE_HEADERS.items():
            yield Case(name, "GET", path, headers)
        join = "&" if "?" in path else "?"
        yield Case("query fields", "GET", path + join + ("a&" * 7000)[:HEAD_BYTES], {})
        yield Case("query escapes", "GET", path + join + ("%C3%A9" * 3000)[:HEAD_BYTES], {})
        yield Case("long path", "GET", "/" + "a/" * 7000, {})


def static_files() -> Iterator[Case]:
    """Yield requests of a static file with expensive headers and addresses."""
    static = f"/static/{read_tree().hash}/style.css"
    yield Case("plain", "GET", static, {"Accept-Encoding": "gzip"})
    for name in ("encodings", "cookies"):
        yield Case(name, "GET", static, _EXPENSIVE_HEADERS[name])
    ranges = "bytes=" + ",".join(f"{i}-{i}" for i in range(3000))[:HEAD_BYTES]
    yield Case("ranges", "GET", static, {"Range": ranges})
    tags = ",".join('"0123456789abcdef"' for _ in range(700))[:HEAD_BYTES]
    yield Case("etags", "GET", static, {"If-None-Match": tags})
    yield Case("deep path", "GET", f"/static/{'a/' * 7000}", {})


def posted_forms(path: str) -> Iterator[Case]:
    """Yield forms that are expensive to parse."""
    for name, body in (
        ("one field", b"password=" + b"a" * (BODY_BYTES - 20)),
        ("fields", b"a&" * (BODY_BYTES // 2)),
        ("different fields", b"&".join(b"%d=" % i for i in range(9000))),
        ("escapes", b"password=" + b"%C3%A9" * 10_000),
        ("escapes within the bound", b"password=" + b"%C3%A9" * 4_000),
        ("fields within the bound", b"&".join(b"%d=%%C3%%A9" % i for i in range(99))),
    ):
        yield Case(name, "POST", path, FORM, body)
    part = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n\r\n'
    yield Case(
        "files",
        "POST",
        path,
        {"Content-Type": "multipart/form-data; boundary=x"},
        part * 900 + b"--x--\r\n",
    )


def posted_json(path: str, content_type: dict[str, str]) -> Iterator[Case]:
    """Yield JSON bodies that are expensive to parse."""
    for name, body in (
        ("deep", b"[" * (BODY_BYTES // 2) + b"]" * (BODY_BYTES // 2)),
        ("deep object", b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
        ("many keys", b"{" + b",".join(b'"%d":0' % i for i in range(7000)) + b"}"),
        ("many items", b"[" + b"0," * 32_000 + b"0]"),
        (
            "many keys within",
            b'{"username":{' + b",".join(b'"%d":0' % i for i in range(7000)) + b"}}",
        ),
        ("long number", b"1" * BODY_BYTES),
        ("escapes", b'{"username":"' + rb"\u00e9" * 10_000 + b'"}'),
    ):
        yield Case(name, "POST", path, content_type, body)


@contextmanager
def served() -> Iterator[tuple[int, int]]:
    """Start a server process with a new database; yield its port and process id."""
    with tempfile.TemporaryDirectory(prefix="quart_app-bench-") as folder:
        url = f"sqlite:///{folder}/bench.db"
        asyncio.run(upgrade_schema(read_database_url(url)))
        with socket_of_any_port() as listener:
            port = listener.getsockname()[1]
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "hypercorn", "--config", str(ROOT / "hypercorn.toml")),
                    *("--bind", f"fd://{listener.fileno()}", "--access-logfile", os.devnull),
                    "quart_app.app:create_app()",
                ],
                cwd=folder,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(ROOT),
                    "QUART_APP_SECRET_KEY": secrets.token_hex(32),
                    "QUART_APP_PLATFORM_ENCRYPTION_KEY": Fernet.generate_key().decode(),
                    "QUART_APP_DATABASE_URL": url,
                },
                pass_fds=[listener.fileno()],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        try:
            yield port, process.pid
        finally:
            process.terminate()
            process.wait()


def socket_of_any_port() -> socket.socket:
    """Return a listening socket for the server to inherit."""
    return socket.create_server(("127.0.0.1", 0))


def processor_seconds(process_id: int) -> float:
    """Return the processor time of all threads of a process so far."""
    threads = Path(f"/proc/{process_id}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def measure(case: Case, port: int, process_id: int) -> Measured:
    """Send a case's request repeatedly, and return its average cost."""
    status = ask(case, port)  # warm-up
    before = processor_seconds(process_id)
    for _ in range(arguments.requests):
        status = ask(case, port)
    spent = processor_seconds(process_id) - before
    return Measured(case, status, 1000 * spent / arguments.requests)


def ask(case: Case, port: int) -> int:
    """Send a request on a new connection, and return the status of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(case.method, case.path, case.body or None, case.headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def wait_until_served(port: int) -> None:
    """Wait for the first answer."""
    for _ in range(600):
        try:
            ask(Case("", "GET", "/healthz", {}), port)
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit("The server does not answer.")


with served() as (port, process_id):
    wait_until_served(port)
    print(f"{'ms':>7} {'ratio':>6} status  request")
    too_expensive = []
    reference = 0.0
    for case in cases():
        measured = measure(case, port, process_id)
        reference = reference or measured.milliseconds
        ratio = measured.milliseconds / reference
        if ratio > MAX_RATIO:
            too_expensive.append(measured)
        print(
            f"{measured.milliseconds:7.2f} {ratio:6.1f} {measured.status:6d}"
            f"  {case.method} {case.path[:24]} ({case.name})",
            flush=True,
        )
print(f"{len(too_expensive)} requests cost more than {MAX_RATIO:g} times as much as GET /healthz.")
sys.exit(1 if too_expensive and arguments.strict else 0)
