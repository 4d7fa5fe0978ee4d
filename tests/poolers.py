"""PgBouncer, Debian's with default settings, between the application and PostgreSQL."""

import os
import pwd
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.listening import free_port, program_of, running

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
"""


@contextmanager
def pgbouncer(
    config: pytest.Config, url: URL, configuration: str = _CONFIGURATION
) -> Iterator[URL]:
    """Yield a URL that reaches the database through PgBouncer, until the block ends.

    `configuration` is a file's text with the names `server_folder`, `server_port`, `user` and
    `port` in braces; they are replaced here.
    """
    program = program_of(config, "pgbouncer", "PgBouncer (Debian's package pgbouncer)")
    server_folder = str(url.query["host"])
    owner = pwd.getpwuid(Path(server_folder).stat().st_uid)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="quart_app-") as folder:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        file = Path(folder, "pgbouncer.ini")
        file.write_text(
            configuration.format(
                server_folder=server_folder,
                server_port=url.query.get("port", 5432),
                user=url.username or owner.pw_name,
                port=port,
            )
        )
        # It refuses to run as root, and only the server's user may read the server's socket.
        as_owner = ["-u", owner.pw_name] if os.geteuid() == 0 else []
        with running([program, *as_owner, file], [port], Path(folder, "log")):
            yield url.set(host="127.0.0.1", port=port, query={})
