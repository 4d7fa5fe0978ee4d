"""The files of deploy/, with their example addresses and files replaced by a test's own."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL
from standins.certificates import ServerCertificate

from tests.listening import free_port
from tests.poolers import pgbouncer
from tests.proxies import caddy, haproxy, nginx
from tests.servers import ROOT

DEPLOY = ROOT / "deploy"
_DATABASE = "quart_app"
_PASSWORD = "the pooler's own"


def with_replaced(file: str, replacements: Mapping[str, str]) -> str:
    """Return the text of a file of deploy/ with examples replaced. Each must be in the file."""
    text = (DEPLOY / file).read_text()
    for example, real in replacements.items():
        assert example in text, f"deploy/{file} has no {example!r}"
        text = text.replace(example, real)
    return text


@contextmanager
def deployed_pooler(config: pytest.Config, url: URL) -> Iterator[URL]:
    """Run PgBouncer with the file of deploy/ until the block ends; yield the URL through it."""
    user = url.username or os.environ.get("USER", "postgres")
    with tempfile.TemporaryDirectory(prefix="quart_app-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # it runs as another user
        (folder / "userlist.txt").write_text(f'"{user}" "{_PASSWORD}"\n')
        text = with_replaced(
            "pgbouncer/pgbouncer.ini",
            {
                "host=127.0.0.1 port=5432": "host={server_folder} port={server_port}",
                f"dbname={_DATABASE}": f"dbname={url.database}",
                "listen_port = 6432": "listen_port = {port}",
                "unix_socket_dir = /run/postgresql": "unix_socket_dir =",
                "/etc/pgbouncer/": f"{folder}/",
            },
        )
        with pgbouncer(config, url, text) as pooled:
            yield pooled.set(username=user, password=_PASSWORD, database=_DATABASE)


@contextmanager
def deployed_proxy(
    config: pytest.Config,
    kind: str,
    servers: list[str],
    certificate: ServerCertificate,
    *,
    guarded: str,
) -> Iterator[tuple[int, int, Path]]:
    """Run a proxy with the file of deploy/ until the block ends.

    Yield its ports, https and http, and its log.

    `servers` are hosts and ports of the application; `guarded` is that of another application,
    which nginx guards at /old/.
    """
    https, http = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="quart_app-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if kind == "nginx":
            text = _nginx(folder, servers, certificate, https, http)
            (folder / "guarded.conf").write_text(
                with_replaced("nginx/quart-app.d/guarded.conf.example", {"127.0.0.1:5000": guarded})
            )
            running = nginx(config, text, [https, http])
        elif kind == "haproxy":
            running = haproxy(config, _haproxy(folder, servers, certificate, https, http), [https])
        else:
            running = caddy(config, _caddy(servers, certificate, https), [https])
        with running as log:
            yield https, http, log
            assert "[warn]" not in log.read_text()


def _nginx(
    folder: Path, servers: list[str], certificate: ServerCertificate, https: int, http: int
) -> str:
    live = "/etc/letsencrypt/live/app.example.org"
    return with_replaced(
        "nginx/quart-app.conf",
        {
            "server 127.0.0.1:8000;": " ".join(f"server {each};" for each in servers),
            f"{live}/fullchain.pem": str(certificate.certificate),
            f"{live}/privkey.pem": str(certificate.key),
            "listen 80;": f"listen 127.0.0.1:{http};",
            "listen [::]:80;": "",
            "listen 443 ssl http2;": f"listen 127.0.0.1:{https} ssl http2;",
            "listen [::]:443 ssl http2;": "",
            "server_name app.example.org": "server_name localhost",
            "/var/log/nginx/quart-app.log": "/dev/stdout",
            "/etc/nginx/quart-app.d": str(folder),
        },
    )


def _haproxy(
    folder: Path, servers: list[str], certificate: ServerCertificate, https: int, http: int
) -> str:
    return with_replaced(
        "haproxy/haproxy.cfg",
        {
            "  server app1 127.0.0.1:8000\n": "".join(
                f"  server app{number} {each}\n" for number, each in enumerate(servers)
            ),
            "/etc/haproxy/certificates/app.example.org.pem": str(combined(folder, certificate)),
            "bind :80\n": f"bind 127.0.0.1:{http}\n",
            "bind :443 ": f"bind 127.0.0.1:{https} ",
        },
    )


def _caddy(servers: list[str], certificate: ServerCertificate, https: int) -> str:
    tls = f"\ttls {certificate.certificate} {certificate.key}\n"
    return with_replaced(
        "caddy/Caddyfile",
        {
            "\napp.example.org {\n": f"\nhttps://localhost:{https} {{\n{tls}",
            "127.0.0.1:8000 ": f"{' '.join(servers)} ",
        },
    )


def combined(folder: Path, certificate: ServerCertificate) -> Path:
    """Write certificate and key into one file, as HAProxy reads them."""
    file = folder / "both.pem"
    file.write_text(certificate.certificate.read_text() + certificate.key.read_text())
    return file
