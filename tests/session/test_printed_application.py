"""The application of docs/session-library.md, as it is printed there, on two real processes."""

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import URL

from tests.servers import ROOT, STARTUP_SECONDS, cookieless_client

PAGE = ROOT / "docs/session-library.md"
ENDED_WITHIN_SECONDS = 1.0


def printed_application() -> str:
    blocks: list[str] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return blocks[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the printed application and the session library, and nothing else of ours."""
    (tmp_path / "example.py").write_text(printed_application())
    package = tmp_path / "quart_app"
    package.mkdir()
    shutil.copy(ROOT / "quart_app/__init__.py", package)
    shutil.copytree(ROOT / "quart_app/session", package / "session")
    return tmp_path


@contextmanager
def process(folder: Path, environ: dict[str, str]) -> Iterator[httpx2.Client]:
    log = folder / f"log-{secrets.token_hex(4)}"
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as stream:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "hypercorn",
                "--bind",
                f"fd://{listener.fileno()}",
                "example:app",
            ],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder)} | environ,
            stdout=stream,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
        )
    try:
        with cookieless_client(url) as client:
            deadline = time.monotonic() + STARTUP_SECONDS
            while True:
                try:
                    if client.get("/").status_code == 401:
                        break
                except httpx2.TransportError:
                    pass
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield client
    finally:
        server.terminate()
        assert server.wait(STARTUP_SECONDS) == 0, log.read_text()


def cookie_of(response: httpx2.Response) -> dict[str, str]:
    response.raise_for_status()
    (line,) = (
        line for line in response.headers.get_list("Set-Cookie") if line.startswith("session=")
    )
    return {"Cookie": line.partition(";")[0]}


def seconds_until_refused(client: httpx2.Client, cookie: dict[str, str]) -> float:
    began = time.monotonic()
    while client.get("/", headers=cookie).status_code != 401:
        assert time.monotonic() < began + STARTUP_SECONDS
        time.sleep(0.01)
    return time.monotonic() - began


@pytest.mark.alone
@pytest.mark.parametrize("engine_name", ["sqlite", "postgresql"], indirect=True)
def test_another_process_learns_of_a_logout_within_a_second(
    folder: Path, empty_database_url: URL
) -> None:
    url = empty_database_url
    if url.get_backend_name() == "sqlite":
        url = url.set(drivername="sqlite+aiosqlite")
    environ = {
        "SECRET_KEY": secrets.token_hex(32),
        "DATABASE_URL": url.render_as_string(hide_password=False),
    }
    with ExitStack() as stack:
        a, b = (stack.enter_context(process(folder, environ)) for _ in range(2))
        one, other = cookie_of(a.post("/login/7")), cookie_of(a.post("/login/7"))
        somebody_else = cookie_of(b.post("/login/8"))
        assert b.get("/", headers=one).text == "user 7"
        a.post("/logout", headers=one).raise_for_status()
        assert a.get("/", headers=one).status_code == 401
        assert seconds_until_refused(b, one) < ENDED_WITHIN_SECONDS
        assert b.get("/", headers=other).status_code == 200
        b.post("/logout_everywhere", headers=other).raise_for_status()
        assert seconds_until_refused(a, other) < ENDED_WITHIN_SECONDS
        assert a.get("/", headers=somebody_else).status_code == 200
        again = cookie_of(a.post("/login/7"))
        assert {each.get("/", headers=again).status_code for each in (a, b)} == {200}


def test_the_library_imports_no_database_no_hasher_and_no_validation(folder: Path) -> None:
    heavy = ("sqlalchemy", "argon2", "nacl", "pydantic", "quart_app.services", "quart_app.web")
    script = (
        "import sys, quart_app.session as library\n"
        "from quart_app.session import RevocableSessions, MemoryRevocationStore\n"
        f"print([name for name in {heavy} if name in sys.modules])\n"
        "[getattr(library, name) for name in library.__all__]"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == "[]"
