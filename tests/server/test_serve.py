"""scripts/serve in a clone: secrets created once, a working set-up link, a demo."""

import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from quart_app.cli.secrets_file import new_secrets, write_missing_secrets
from quart_app.settings import Settings
from tests.cases import first_unless_thorough
from tests.clones import clone_into, command, environ_in, greeted, serve
from tests.conftest import ENCRYPTION_KEY, PASSWORD, SECRET_KEY
from tests.listening import free_port
from tests.servers import STARTUP_SECONDS

SECRETS = ["QUART_APP_PLATFORM_ENCRYPTION_KEY", "QUART_APP_SECRET_KEY"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return clone_into(tmp_path)


def refusal(
    clone: Path, *arguments: str, exit_code: int = 1, environ: dict[str, str] | None = None
) -> str:
    """Return the one line of its refusal; only wrong usage (2) prints more."""
    ended = subprocess.run(
        command(*arguments),
        cwd=clone,
        env=environ_in(clone, **(environ or {})),
        capture_output=True,
        text=True,
        timeout=STARTUP_SECONDS,
        check=False,
    )
    assert ended.returncode == exit_code
    assert "http:" not in ended.stdout  # no address is printed where nothing listens
    *usage, line = ended.stderr.splitlines()
    assert exit_code == 2 or not usage
    return line


def test_a_fresh_clone_serves_can_be_set_up_and_serves_again(clone: Path) -> None:
    secrets_file = clone / "instance/.env"
    with serve(clone) as first, httpx2.Client(base_url=first.url) as client:
        link = first.link(r"(http://\S+/setup\?token=\S+)")
        assert link.startswith(first.url)
        assert client.get(link).status_code == 200
        made = client.post(
            "/setup",
            data={
                "token": link.partition("token=")[2],
                "username": "ada",
                "email": "ada@example.com",
                "new_password": PASSWORD,
            },
        )
        assert made.status_code == 303
        assert client.get("/api/session_state").status_code == 200
        assert client.get(link).status_code == 410
        cookie = client.cookies["session"]
        standing = secrets_file.read_bytes()
        assert stat.S_IMODE(secrets_file.stat().st_mode) == 0o600
        assert stat.S_IMODE((clone / "instance/quart_app.db").stat().st_mode) == 0o600
        for line in standing.decode().splitlines():
            assert line.partition("=")[2] not in first.said.read_text()
    with serve(clone) as second:
        assert second.link(r"(http://\S+/login)\n") == f"{second.url}/login"
        assert "/setup" not in second.said.read_text()
        cookies = {"session": cookie}
        kept = httpx2.get(f"{second.url}/api/session_state", cookies=cookies)
        assert kept.status_code == 200  # the same key verifies the session
    assert secrets_file.read_bytes() == standing


def test_two_simultaneous_starts_use_the_same_secrets(clone: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        meet, part = threading.Barrier(2), threading.Barrier(2)

        def use_link_of_other(links: list[str]) -> list[int]:
            meet.wait()
            with serve(clone) as serving:
                links.append(serving.link(r"/(setup\?token=\S+)"))
                part.wait(STARTUP_SECONDS)
                statuses = [httpx2.get(f"{serving.url}/{link}").status_code for link in links]
                part.wait(STARTUP_SECONDS)
                return statuses

        links: list[str] = []
        for running in [threads.submit(use_link_of_other, links) for _ in range(2)]:
            assert running.result() == [200, 200]
    lines = (clone / "instance/.env").read_text().splitlines()
    assert sorted(line.partition("=")[0] for line in lines) == SECRETS


def test_the_demo_logs_in_and_leaves_no_files(clone: Path) -> None:
    with serve(clone, "--demo") as demo, httpx2.Client(base_url=demo.url) as client:
        username, password = re.findall(
            r"log in as (\S+) with the password (\S+)\n", demo.said.read_text()
        )[0]
        given = {"username": username, "password": password}
        assert client.post("/api/login", json=given).status_code == 200
        assert len(client.get("/api/platforms").json()) == 3
        (ca_file,) = (clone.parent / "tmp").rglob("ca.pem")
        host = demo.link(r"on the demonstration's server, (localhost:\d+)\.")
        tls = ssl.create_default_context(cafile=ca_file)
        assert httpx2.get(f"https://{host}/api/v1/instance", verify=tls).json()["uri"] == host
    assert list((clone.parent / "tmp").iterdir()) == []
    assert not (clone / "instance").exists()


def test_links_use_the_address_given_on_the_command_line(clone: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    with subprocess.Popen(
        command("--demo", "--", "--bind", address),
        cwd=clone,
        env=environ_in(clone),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout
            greeting = "".join(
                takewhile(lambda line: "All data is deleted" not in line, process.stdout)
            )
            found = re.search(r"log in as (\S+) with the password (\S+)\n", greeting)
            assert found
            transport = httpx2.HTTPTransport(retries=5)  # it listens a little later
            with httpx2.Client(base_url=f"http://{address}", transport=transport) as client:
                login = {"username": found[1], "password": found[2]}
                assert client.post("/api/login", json=login).status_code == 200
                user = {"username": "ada", "email": "ada@example.com", "role": "viewer"}
                made = client.post("/admin/users/new", data=user)
            assert f"http://{address}/reset?token=" in made.text
        finally:
            process.kill()


def test_a_port_in_use_is_reported_in_one_line(clone: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = refusal(clone, "--demo", "--", "--bind", address)
    assert line.startswith(f"quart_app: Hypercorn can't serve: {address}: Address already in use.")
    assert list((clone.parent / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "printed"),
    first_unless_thorough(
        2,
        [
            (["--bind", "unix:SOCKET", "--bind", "127.0.0.1:PORT"], "http://127.0.0.1:PORT"),
            (["--bind", "[::]:PORT"], "http://[::1]:PORT"),
            (["--bind=127.0.0.1:PORT", "--root-path=/app"], "http://127.0.0.1:PORT/app"),
            (["--bind=127.0.0.1:PORT", "-w2"], "http://127.0.0.1:PORT"),
            (["--bind=:PORT", "--certfile=CERT", "--keyfile=KEY"], "https://127.0.0.1:PORT"),
            (["--bind", ":PORT"], "http://127.0.0.1:PORT"),
            (["--bind", "0.0.0.0:PORT"], "http://127.0.0.1:PORT"),
            (["--bind", "localhost:PORT"], "http://127.0.0.1:PORT"),
            (["-b127.0.0.1:PORT", "-b127.0.0.1:0"], "http://127.0.0.1:PORT"),
            (["--bind", "[::1]:PORT"], "http://[::1]:PORT"),
            (["--config", "CONFIG"], "http://127.0.0.1:PORT"),
            (["--bind=127.0.0.1:PORT", "--worker-class", "uvloop"], "http://127.0.0.1:PORT"),
            (["--bind=127.0.0.1:PORT", "--workers=1"], "http://127.0.0.1:PORT"),
            (["--bind=127.0.0.1:PORT", "--reload"], "http://127.0.0.1:PORT"),
            (["--bind=127.0.0.1:0"], r"http://127.0.0.1:\d+"),
        ],
    ),
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_the_printed_address_opens(clone: Path, options: list[str], printed: str) -> None:
    port = free_port()
    (clone / "other.toml").write_text(f'bind = ":{port}"\nworkers = 0\n')
    if "https" in printed:
        make_certificate(clone)
    values = {"PORT": port, "SOCKET": "a.sock", "CONFIG": "other.toml"}
    for name, value in (values | {"CERT": "cert.pem", "KEY": "key.pem"}).items():
        options = [option.replace(name, str(value)) for option in options]
        printed = printed.replace(name, str(value))
    with greeted(clone, "--demo", "--", *options) as (greeting, process):
        (url,) = re.findall(r"(?m)^  (http\S+)$", greeting)
        assert re.fullmatch(printed.replace("[", "\\["), url.removesuffix("/"))
        deadline = time.monotonic() + STARTUP_SECONDS
        while True:
            try:
                answer = httpx2.get(f"{url.removesuffix('/')}/login", verify=False)
                break
            except httpx2.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert answer.status_code == 200
        assert "/login" in answer.text
        process.send_signal(signal.SIGTERM)
        assert process.stdout
        assert "Traceback" not in process.stdout.read()
        assert process.wait(STARTUP_SECONDS) == 0
    assert list((clone.parent / "tmp").iterdir()) == []


def make_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    ).sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    for file, encryption in (
        ("key.pem", NoEncryption()),
        ("locked.pem", BestAvailableEncryption(b"locked")),
    ):
        (folder / file).write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        )


@pytest.mark.parametrize(
    ("options", "reason"),
    first_unless_thorough(
        3,
        [
            ("--worker-class trio", "the worker class is trio, but must be asyncio or uvloop"),
            ("--config typed.toml", "bind must be a list of strings"),
            ("--certfile absent.pem --keyfile key.pem", "absent.pem is not a file"),
            ("--quic-bind 127.0.0.1:0", "needs a certfile and a keyfile"),
            ("--pid absent/pid", "No such file or directory"),
            ("--root-path app", "a root path must begin with /"),
            ("--bind 127.0.0.1:x", "the port in 127.0.0.1:x is not a number"),
            ("--bind unix:absent/socket", "No such file or directory"),
            ("--workers=-1", "workers must be a number, 0 or more"),
            ("--worker-class none", "the worker class is none, but must be asyncio or uvloop"),
            ("--config absent.toml", "configuration can't be read: No such file or directory"),
            ("--config requirements.lock", "configuration can't be read: "),
            ("--config python:absent", "configuration can't be read: "),
            ("--certfile cert.pem", "TLS needs both a certfile and a keyfile"),
            ("--keyfile key.pem", "TLS needs both a certfile and a keyfile"),
            ("--certfile cert.pem --keyfile cert.pem", "the certificate or its key can't be used"),
            ("--certfile cert.pem --keyfile locked.pem", "needs --keyfile-password"),
            ("--insecure-bind 127.0.0.1:0", "needs a certfile and a keyfile"),
            ("--log-level loud", "its log or pid file can't be used"),
            ("--log-config absent.ini", "its log or pid file can't be used"),
            ("--access-logfile absent/log", "No such file or directory"),
            ("--bind fd://999", "Bad file descriptor"),
            ("--bind fd://0", "Socket operation on non-socket"),
            ("--bind fd://x", "fd://x is not the number of a file descriptor"),
            ("--bind http://127.0.0.1:8000", "Name or service not known"),
            ("--bind 203.0.113.1:0", "Cannot assign requested address"),
            ("--bind unix:typed.toml", "typed.toml is not a socket"),
        ],
    ),
)
def test_options_that_hypercorn_cannot_serve_with_are_refused_in_one_line(
    clone: Path, options: str, reason: str
) -> None:
    (clone / "typed.toml").write_text("bind = 5\n")
    make_certificate(clone)
    line = refusal(clone, "--", *options.split())
    assert line.startswith("quart_app: Hypercorn can't serve: ")
    assert reason in line
    assert not (clone / "instance").exists()


def test_a_root_path_that_is_not_the_public_urls_is_refused(clone: Path) -> None:
    environ = {"QUART_APP_PUBLIC_URL": "http://quart.example/other"}
    line = refusal(clone, "--", "--bind=127.0.0.1:0", "--root-path=/app", environ=environ)
    assert "QUART_APP_PUBLIC_URL must end with the root path /app." in line


def test_the_socket_of_a_running_server_is_not_replaced(clone: Path) -> None:
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(clone / "socket"))
        taken.listen()
        line = refusal(clone, "--", "--bind", "unix:socket")
        assert "Address already in use" in line
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(clone / "socket"))


@pytest.mark.parametrize("port", ["99999", "65536"])
def test_an_invalid_port_is_reported_in_one_line_about_the_port(clone: Path, port: str) -> None:
    line = refusal(clone, "--", "--bind", f"127.0.0.1:{port}")
    assert line.startswith("quart_app: Hypercorn can't serve: A port must be a number")
    assert "PUBLIC_URL" not in line
    assert not (clone / "instance").exists()


def test_unknown_arguments_are_named_with_a_hint_at_hypercorns(clone: Path) -> None:
    for argument in ("--bind=127.0.0.1:8001", "junk"):
        line = refusal(clone, argument, exit_code=2)
        assert f"error: unknown arguments: {argument}" in line
        assert "scripts/serve -- --bind" in line


def test_an_extra_argument_for_hypercorn_is_named(clone: Path) -> None:
    ended = subprocess.run(
        command("--demo", "--", "--bind", "127.0.0.1:0", "junk"),
        cwd=clone,
        env=environ_in(clone),
        capture_output=True,
        text=True,
        timeout=STARTUP_SECONDS,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.endswith("error: unrecognized arguments: junk\n")


def test_an_unreachable_database_is_reported_in_one_line_with_the_cause(clone: Path) -> None:
    url = "postgresql://ada:hunter2@127.0.0.1:1/app"
    keys = new_secrets()
    line = refusal(
        clone, "--", "--bind", "127.0.0.1:0", environ={"QUART_APP_DATABASE_URL": url} | keys
    )
    assert "Connection refused" in line
    assert "QUART_APP_DATABASE_URL" in line
    assert "hunter2" not in line


def test_an_invalid_setting_is_reported_in_one_line(clone: Path) -> None:
    line = refusal(
        clone, "--", "--bind", "127.0.0.1:0", environ={"QUART_APP_SESION_DIGEST": "sha256"}
    )
    assert line.startswith("quart_app: QUART_APP_SESION_DIGEST is not a setting")


def test_a_secrets_folder_that_cannot_be_created_is_reported_in_one_line(clone: Path) -> None:
    (clone / "instance").write_text("a file")
    line = refusal(clone, "--", "--bind", "127.0.0.1:0")
    assert line.startswith("quart_app: QUART_APP_SECRET_KEY and QUART_APP_PLATFORM_ENCRYPTION_KEY")
    assert "can't be written to instance/.env (" in line
    assert "set them in the environment" in line


def test_no_secrets_folder_is_needed_with_both_secrets_in_the_environment(clone: Path) -> None:
    (clone / "instance").write_text("a file")
    line = refusal(clone, "--", "--bind", "127.0.0.1:0", environ=new_secrets())
    assert "SECRET_KEY" not in line  # but the database has no place
    assert "instance/quart_app.db" in line


# --- instance/.env -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and an environment without our settings."""
    for name in [name for name in os.environ if name.startswith("QUART_APP_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "standing"),
    [
        ("instance/.env", f"QUART_APP_SECRET_KEY={SECRET_KEY}"),  # and no final newline
        ("instance/.env", f"# ours\nexport QUART_APP_SECRET_KEY = '{SECRET_KEY}'\n"),
        ("instance/.env", "QUART_APP_SECRET_KEY_FILE=key\n"),
        (".env", f"QUART_APP_SECRET_KEY={SECRET_KEY}\n"),
        (".env", "QUART_APP_SECRET_KEY_FILE=key\n"),
    ],
)
def test_an_existing_secret_is_never_replaced(folder: Path, path: str, standing: str) -> None:
    (folder / "key").write_text(SECRET_KEY)
    (folder / "instance").mkdir()
    (folder / path).write_text(standing)
    assert write_missing_secrets() == ["QUART_APP_PLATFORM_ENCRYPTION_KEY"]
    assert (folder / path).read_text().startswith(standing)
    assert Settings.from_environ().secret_key == SECRET_KEY
    assert stat.S_IMODE((folder / "instance/.env").stat().st_mode) == 0o600
    assert write_missing_secrets() == []


@pytest.mark.parametrize("suffix", ["", "_FILE"])
def test_a_secret_from_the_environment_is_not_written_to_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    (folder / "key").write_text(ENCRYPTION_KEY)
    value = "key" if suffix else ENCRYPTION_KEY
    monkeypatch.setenv(f"QUART_APP_PLATFORM_ENCRYPTION_KEY{suffix}", value)
    assert write_missing_secrets() == ["QUART_APP_SECRET_KEY"]
    assert Settings.from_environ().platform_encryption_keys == (ENCRYPTION_KEY,)


@pytest.mark.usefixtures("folder")
def test_concurrent_writers_write_the_secrets_once(
    thorough: bool,  # noqa: FBT001 a fixture
) -> None:
    with ThreadPoolExecutor(8) as threads:
        for _ in range(100 if thorough else 10):
            at_once = threading.Barrier(8)

            def write(at_once: threading.Barrier = at_once) -> list[str]:
                at_once.wait()
                return write_missing_secrets()

            written = [running.result() for running in [threads.submit(write) for _ in range(8)]]
            assert sorted(name for names in written for name in names) == SECRETS
            lines = Path("instance/.env").read_text().splitlines()
            assert sorted(line.partition("=")[0] for line in lines) == SECRETS
            shutil.rmtree("instance")


def test_new_secrets_are_long_enough_and_differ_every_time() -> None:
    first, second = new_secrets(), new_secrets()
    assert sorted(first) == SECRETS
    assert not set(first.values()) & set(second.values())
    settings = Settings.from_environ(first, directory=Path(tempfile.gettempdir(), "absent"))
    assert settings.secret_key == first["QUART_APP_SECRET_KEY"]
