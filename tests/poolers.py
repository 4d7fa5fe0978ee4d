"""PgBouncer, Debian's with default settings, between the application and PostgreSQL."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.conftest import lacking
from tests.listening import STARTUP_SECONDS, wait_until_listening

# Only settings without a default: the server's address, authentication and the pool mode.
_CONFIGURATION = """
[databases]
* = host={server_folder} port={server_port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
logfile = {folder}/log
"""


@contextmanager
def pgbouncer(config: pytest.Config, url: URL) -> Iterator[URL]:
    """Yield a URL that reaches the database through PgBouncer, until the block ends."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        lacking(config, "PgBouncer (Debian's package pgbouncer)")
        return
    server_folder = str(url.query["host"])
    owner = pwd.getpwuid(Path(server_folder).stat().st_uid)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="quart_app-") as folder:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        file = Path(folder, "pgbouncer.ini")
        file.write_text(
            _CONFIGURATION.format(
                server_folder=server_folder,
                server_port=url.query.get("port", 5432),
                user=url.username or owner.pw_name,
                port=port,
                folder=folder,
            )
        )
        # It refuses to run as root, and only the server's user may read the server's socket.
        as_owner = ["-u", owner.pw_name] if os.geteuid() == 0 else []
        process = subprocess.Popen([str(program), *as_owner, str(file)], stderr=subprocess.DEVNULL)
        try:
            wait_until_listening(process, port, Path(folder, "log"))
            yield url.set(host="127.0.0.1", port=port, query={})
        finally:
            process.terminate()
            process.wait(STARTUP_SECONDS)
