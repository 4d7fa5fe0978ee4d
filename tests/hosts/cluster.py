"""Three application hosts, a database host and a proxy, each with its own program.

nginx has the file of deploy/ with its real ports, since each host has all ports to itself.
"""

import asyncio
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from standins.certificates import CertificateAuthority

from quart_app.settings import Settings
from quart_app.storage.schema import upgrade_schema
from tests.conftest import postgres_server, settings_for, url_of
from tests.deployment import with_replaced
from tests.hosts.network import NETWORK, Host, network
from tests.listening import program_of
from tests.proxies import nginx_command
from tests.servers import APP, ROOT, STARTUP_SECONDS, environ_of

SITE: Final = "app.example.org"
REFUSE_AFTER: Final = timedelta(seconds=3)  # short, so that hosts that are cut off exceed it
APPLICATION_PORTS: Final = ("app1", "app2", "app3")
_PORT: Final = 8000


@dataclass
class Program:
    """A program on a host, which can be ended and started again."""

    host: Host
    command: list[str]
    log: Path
    options: dict[str, Any]
    process: "subprocess.Popen[Any]" = field(init=False)

    def start(self) -> None:
        self.process = self.host.start(self.command, self.log, **self.options)

    def end(self, number: signal.Signals) -> None:
        """Send a signal that ends it, and wait for that."""
        self.process.send_signal(number)
        self.process.wait(STARTUP_SECONDS)


@dataclass(frozen=True)
class Cluster:
    """The programs of all hosts, and how clients reach them."""

    clients: Host
    applications: dict[str, Program]
    database: Program
    proxy: Program
    authority: Path  # the certificate of the proxy's authority
    stored: URL  # the database, without the network

    def urls(self) -> dict[str, str]:
        """Return where the proxy and each application host are reached."""
        direct = {
            name: f"http://{program.host.address}:{_PORT}"
            for name, program in self.applications.items()
        }
        return {"proxy": f"https://{self.proxy.host.address}"} | direct

    def replace_applications(self, app: str) -> None:
        """Serve this application on every application host, unless it is the one already."""
        for program in self.applications.values():
            if program.command[-1] != app:
                program.end(signal.SIGKILL)
                program.command[-1] = app
                program.start()

    def logs(self) -> str:
        """Return the ends of the logs of all programs, without the applications' requests."""
        lines: list[str] = []
        for program in (*self.applications.values(), self.database, self.proxy):
            text = program.log.read_text() if program.log.exists() else ""
            others = [line for line in text.splitlines() if "[INFO]" not in line]
            lines += [f"--- {program.host.port}", *others[-30:]]
        return "\n".join(lines)


@contextmanager
def cluster(config: pytest.Config, folder: Path) -> Iterator[Cluster]:
    """Run all hosts until the block ends. The applications may not be ready yet."""
    with (
        postgres_server(config) as server,
        network(config, ("clients", "proxy", "database", *APPLICATION_PORTS)) as hosts,
        tempfile.TemporaryDirectory(prefix="quart_app-") as proxy_folder,
    ):
        clients, proxy_host, database_host, *application_hosts = hosts
        stored = url_of(server)
        asyncio.run(upgrade_schema(stored))
        database = _database(server, database_host, folder)
        authority = CertificateAuthority(folder)
        proxy = _proxy(config, proxy_host, application_hosts, authority, Path(proxy_folder))
        applications = {
            host.port: _application(_settings(database_host), host, folder)
            for host in application_hosts
        }
        programs = (database, proxy, *applications.values())
        try:
            for program in programs:
                program.start()
            yield Cluster(clients, applications, database, proxy, authority.file, stored)
        finally:
            for program in programs:
                program.end(signal.SIGKILL)


def _settings(database: Host) -> Settings:
    url = make_url(f"postgresql+psycopg://postgres@{database.address}/postgres")
    return replace(
        settings_for(url),
        refuse_after=REFUSE_AFTER,
        trusted_proxies=1,
        public_url=f"https://{SITE}",
    )


def _application(settings: Settings, host: Host, folder: Path) -> Program:
    command = [
        *(sys.executable, "-m", "hypercorn", "--config", str(ROOT / "hypercorn.toml")),
        *("--bind", f"{host.address}:{_PORT}", APP),
    ]
    options = {"cwd": folder, "env": environ_of(settings)}
    return Program(host, command, folder / f"{host.port}.log", options)


def _database(server: Any, host: Host, folder: Path) -> Program:
    """Move a server of the test to a host. It serves the test's own socket, too."""
    address = url_of(server).query["host"]
    server.stop()
    with (server.pgdata / "pg_hba.conf").open("a") as file:
        file.write(f"host all all {NETWORK} trust\n")
    command = [
        *(str(server.bin_path / "postgres"), "-D", str(server.pgdata)),
        *("-h", host.address, "-k", str(address), "-c", "log_lock_waits=on"),
    ]
    if server.system_user is None:
        return Program(host, command, folder / "database.log", {})
    owner = pwd.getpwnam(server.system_user)
    as_owner = ("setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups")
    options = {"env": {"PATH": os.environ["PATH"]}}
    return Program(host, [*as_owner, *command], folder / "database.log", options)


def _proxy(
    config: pytest.Config,
    host: Host,
    applications: list[Host],
    authority: CertificateAuthority,
    folder: Path,
) -> Program:
    program = program_of(config, "nginx", "nginx (Debian's package nginx)")
    folder.chmod(0o755)  # its workers run as another user
    certificate = authority.certificate(SITE)
    live = f"/etc/letsencrypt/live/{SITE}"
    site = with_replaced(
        "nginx/quart-app.conf",
        {
            "server 127.0.0.1:8000;": " ".join(
                f"server {each.address}:{_PORT};" for each in applications
            ),
            f"{live}/fullchain.pem": str(certificate.certificate),
            f"{live}/privkey.pem": str(certificate.key),
            "/etc/nginx/quart-app.d": str(folder / "none"),
        },
    )
    return Program(host, nginx_command(program, folder, site), folder / "log", {})
