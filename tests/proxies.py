"""nginx, HAProxy and Caddy, Debian's, in front of the application on loopback.

A test writes its ports (`free_port` in tests/listening.py) and its servers into the configuration.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.listening import program_of, running

# The rest of Debian's nginx.conf, with all files in a temporary folder.
_NGINX = """
daemon off;
pid {folder}/pid;
error_log stderr;
worker_processes 2;
events {{ worker_connections 4096; }}
http {{
  include /etc/nginx/mime.types;
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  include {folder}/site;
}}
"""


@contextmanager
def nginx(config: pytest.Config, site: str, ports: Sequence[int]) -> Iterator[Path]:
    """Run nginx until the block ends, and yield the file with its log.

    `site` is the text of a file in Debian's /etc/nginx/sites-enabled: `upstream` and `server`
    blocks, which listen on `ports`.
    """
    program = program_of(config, "nginx", "nginx (Debian's package nginx)")
    with tempfile.TemporaryDirectory(prefix="quart_app-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # its workers run as another user
        log = folder / "log"
        with running(nginx_command(program, folder, site), ports, log):
            yield log


def nginx_command(program: str, folder: Path, site: str) -> list[str]:
    """Write the configuration into a folder, and return the command that runs nginx with it."""
    (folder / "site").write_text(site)
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(folder=folder))
    return [program, "-p", str(folder), "-c", str(file), "-e", "stderr"]


@contextmanager
def haproxy(config: pytest.Config, configuration: str, ports: Sequence[int]) -> Iterator[Path]:
    """Run HAProxy until the block ends, and yield the file with its log.

    `configuration` is the text of the whole file; its frontends listen on `ports`.
    """
    program = program_of(config, "haproxy", "HAProxy (Debian's package haproxy)")
    with tempfile.TemporaryDirectory(prefix="quart_app-") as name:
        file, log = Path(name, "haproxy.cfg"), Path(name, "log")
        file.write_text(configuration)
        # -db: in the foreground, though the file may say `daemon`.
        with running([program, "-db", "-f", file], ports, log):
            yield log


@contextmanager
def caddy(config: pytest.Config, caddyfile: str, ports: Sequence[int]) -> Iterator[Path]:
    """Run Caddy until the block ends, and yield the file with its log.

    `caddyfile` is the text of the whole file, without global options; its sites listen on `ports`.
    """
    program = program_of(config, "caddy", "Caddy (Debian's package caddy)")
    with tempfile.TemporaryDirectory(prefix="quart_app-") as name:
        file, log = Path(name, "Caddyfile"), Path(name, "log")
        file.write_text("{\n\tadmin off\n\tauto_https off\n}\n" + caddyfile)
        # It keeps its state in the home directory.
        options = ["--adapter", "caddyfile", "--config", str(file)]
        with running(["env", f"HOME={name}", program, "run", *options], ports, log):
            yield log
