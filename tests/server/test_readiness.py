"""`/readyz` of a real process when the disk is full."""

import resource
import shutil
import time
from pathlib import Path

import pytest

from quart_app.settings import read_database_url
from tests.conftest import settings_for
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


def test_a_full_disk_makes_the_process_not_ready_until_space_is_freed(
    request: pytest.FixtureRequest, migrated_sqlite: Path, tmp_path: Path
) -> None:
    with mounted(request.config, tmp_path / "small", "size=8m") as folder:
        path = folder / "test.db"
        shutil.copy(migrated_sqlite, path)
        settings = settings_for(read_database_url(f"sqlite:///{path}"))
        with hypercorn(settings, tmp_path) as server:
            wait_until(server, 200)
            filler = folder / "filler"
            with pytest.raises(OSError, match="space"):
                fill(filler)
            wait_until(server, 503)
            filler.unlink()
            wait_until(server, 200)


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
