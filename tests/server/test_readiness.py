"""`/readyz` of a real process when the disk is full."""

import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL

from quart_app.settings import read_database_url
from tests.conftest import administer, settings_for
from tests.file_systems import mounted
from tests.servers import Server, hypercorn

SEEN_WITHIN_SECONDS = 10  # the result is cached for a second


def wait_until(server: Server, status: int) -> None:
    deadline = time.monotonic() + SEEN_WITHIN_SECONDS
    while (answer := server.ask("GET", "/readyz")).status_code != status:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    if status == 503:
        assert "can't be written to" in answer.json()["reasons"][0]
    assert server.ask("GET", "/healthz").status_code == 200


def fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def assert_notices_that_it_is_full(disk: Path, server: Server) -> None:
    """Fill the disk, and free it again."""
    wait_until(server, 200)
    filler = disk / "filler"
    with pytest.raises(OSError, match="space"):
        fill(filler)
    wait_until(server, 503)
    filler.unlink()
    wait_until(server, 200)


def test_a_full_disk_makes_the_process_not_ready_until_space_is_freed(
    request: pytest.FixtureRequest, migrated_sqlite: Path, tmp_path: Path
) -> None:
    with mounted(request.config, tmp_path / "small", "size=8m") as folder:
        path = folder / "test.db"
        shutil.copy(migrated_sqlite, path)
        settings = settings_for(read_database_url(f"sqlite:///{path}"))
        with hypercorn(settings, tmp_path) as server:
            assert_notices_that_it_is_full(folder, server)


@contextmanager
def postgres_on_a_small_disk(
    request: pytest.FixtureRequest, folder: Path
) -> Iterator[tuple[URL, Path]]:
    """A migrated database on a small file system; the files of its server are elsewhere."""
    postgres: URL = request.getfixturevalue("postgres")
    template: str = request.getfixturevalue("migrated_postgres")
    folder.chmod(0o755)  # the server has a user of its own
    with mounted(request.config, folder / "small", "size=64m") as disk:
        (disk / "database").mkdir()
        owner = Path(ask(postgres, "SHOW data_directory")).stat()
        os.chown(disk / "database", owner.st_uid, owner.st_gid)
        location = f"CREATE TABLESPACE small LOCATION '{disk}/database'"
        database = f"CREATE DATABASE on_a_small_disk TEMPLATE {template} TABLESPACE small"
        administer(postgres, location, database)
        try:
            yield postgres.set(database="on_a_small_disk"), disk
        finally:
            administer(postgres, "DROP DATABASE on_a_small_disk", "DROP TABLESPACE small")


def ask(server: URL, query: str) -> str:
    dsn = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn) as connection:
        (value,) = connection.execute(query.encode()).fetchone() or ("",)
        return str(value)


def test_a_full_disk_of_postgresql_makes_the_process_not_ready(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="quart_app-") as name,
        postgres_on_a_small_disk(request, Path(name)) as (url, disk),
        hypercorn(settings_for(url), tmp_path) as server,
    ):
        assert_notices_that_it_is_full(disk, server)


def test_a_file_size_limit_makes_the_process_not_ready(
    migrated_sqlite: Path, tmp_path: Path
) -> None:
    path = tmp_path / "test.db"
    shutil.copy(migrated_sqlite, path)
    with hypercorn(settings_for(read_database_url(f"sqlite:///{path}")), tmp_path) as server:
        wait_until(server, 200)
        before = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        limits = (path.stat().st_size, before[1])
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
        wait_until(server, 503)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, before)
        wait_until(server, 200)
