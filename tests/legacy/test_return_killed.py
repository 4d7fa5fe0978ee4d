"""--restore and --no-return happen as a whole or not at all: killed, out of space, two at once."""

import os
import resource
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from tests.legacy.legacy_database import connected
from tests.legacy.migration_runs import (
    Migrate,
    State,
    bytes_of,
    change,
    end_of,
    start,
    state_of,
    without_sessions,
)
from tests.legacy.test_migration_killed import fill, kill, wait_for, wait_until_gone

pytestmark = pytest.mark.sqlite_unless_thorough

KEPT = "scrypt:kept"


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "sessions.backup"


@pytest.fixture
def before(legacy_url: URL) -> State:
    fill(legacy_url)
    return state_of(legacy_url)


@pytest.fixture
def migrated_url(legacy_url: URL, before: State, migrate: Migrate, backup: Path) -> URL:
    """A migrated database that keeps the older hash of every user."""
    assert migrate(legacy_url, "--yes", "--backup", backup).code == 0
    change(legacy_url, f"UPDATE users SET legacy_password_hash = '{KEPT}'")  # noqa: S608 ours
    assert state_of(legacy_url) == without_sessions(before)
    return legacy_url


def kept_hashes(url: URL) -> set[Any]:
    with connected(url) as execute:
        return {kept for (kept,) in execute("SELECT legacy_password_hash FROM users")}


def is_restored(url: URL, before: State) -> bool:
    """Return whether all of it happened; that nothing did is the only other thing allowed."""
    with connected(url) as execute:
        ((restored_at,),) = execute("SELECT restored_at FROM quart_app_migration")
    state = state_of(url)
    assert state == (without_sessions(before) if restored_at is None else before)
    assert kept_hashes(url) == ({KEPT} if restored_at is None else {None})
    return restored_at is not None


@pytest.mark.parametrize("step", ["waiting for the database", "rows", "indexes", "comparing"])
def test_a_restoration_that_is_killed_is_whole(
    migrated_url: URL, before: State, migrate: Migrate, backup: Path, step: str
) -> None:
    process = start(migrated_url, "--yes", "--restore", backup)
    wait_for(process, step)
    kill(process)
    wait_until_gone(migrated_url)
    is_restored(migrated_url, before)
    assert migrate(migrated_url, "--yes", "--restore", backup).code == 0
    assert is_restored(migrated_url, before)


@pytest.mark.parametrize("step", ["waiting for the database", "erasing"])
def test_an_erasure_that_is_killed_is_whole(migrated_url: URL, migrate: Migrate, step: str) -> None:
    process = start(migrated_url, "--yes", "--no-return")
    wait_for(process, step)
    kill(process)
    wait_until_gone(migrated_url)
    assert kept_hashes(migrated_url) in ({KEPT}, {""})
    assert migrate(migrated_url, "--yes", "--no-return").code == 0
    assert kept_hashes(migrated_url) == {""}


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_a_full_disk_undoes_a_restoration(
    migrated_url: URL, before: State, migrate: Migrate, backup: Path
) -> None:
    with closing(sqlite3.connect(migrated_url.database or "")) as connection:
        connection.execute("VACUUM")  # otherwise the removed pages have room for the table
    bytes_before = bytes_of(migrated_url)
    largest = Path(migrated_url.database or "").stat().st_size

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    ended = end_of(
        start(
            migrated_url,
            *("--yes", "--restore", backup),
            preexec_fn=limit,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )
    )
    assert ended.code == 1
    assert "disk" in ended.complained.splitlines()[-1]
    assert ended.complained.endswith("The database is unchanged.\n")
    assert bytes_of(migrated_url) == bytes_before
    assert migrate(migrated_url, "--yes", "--restore", backup).code == 0
    assert is_restored(migrated_url, before)


def test_of_two_restorations_at_once_one_does_it(
    migrated_url: URL, before: State, backup: Path
) -> None:
    processes = [start(migrated_url, "--yes", "--restore", backup) for _ in range(2)]
    ends = [end_of(process) for process in processes]
    assert sorted(ended.code for ended in ends) in ([0, 0], [0, 5]), ends
    assert sum("Done: " in ended.said for ended in ends) == 1
    assert is_restored(migrated_url, before)


def test_a_restoration_and_an_erasure_at_once_leave_one_of_both_results(
    migrated_url: URL, before: State, backup: Path
) -> None:
    restoring = start(migrated_url, "--yes", "--restore", backup)
    erasing = start(migrated_url, "--yes", "--no-return")
    restored, erased = end_of(restoring), end_of(erasing)
    # Without its hashes the table can still be restored; a restored database refuses to erase.
    assert (restored.code, erased.code) in ((0, 3), (0, 0), (5, 0), (0, 5)), (restored, erased)
    if restored.code == 0:
        assert state_of(migrated_url) == before
    if erased.code == 0:
        assert kept_hashes(migrated_url) in ({""}, {None})
