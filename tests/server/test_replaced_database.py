"""A restored backup: ended sessions stay ended, and the processes continue with the new file."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from quart_app.settings import Settings
from tests.processes import Processes, log_in, log_out, seconds_until_refused, two_processes
from tests.servers import hypercorn

pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])  # where a database is a file


@pytest.fixture
def processes(settings: Settings, tmp_path: Path) -> Iterator[Processes]:
    with two_processes(settings, tmp_path) as both:
        yield both


def back_up(database: Path) -> Path:
    """Copy the database while it is in use."""
    backup = database.with_suffix(".backup")
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(backup)) as copy:
        source.backup(copy)
    return backup


def restore(backup: Path, database: Path) -> None:
    """Replace the database with the backup while the processes run."""
    for suffix in ("-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    backup.replace(database)


@dataclass(frozen=True)
class Past:
    """Sessions from before the restore; the backup contains only some of them."""

    users: tuple[str, str]
    ended: list[str]
    alive: str


@pytest.fixture
def past(processes: Processes, settings: Settings) -> Past:
    database = Path(settings.database_url.database or "")
    users = processes.new_user(), processes.new_user()
    log_out(processes.a, log_in(processes.a, users[0]))  # the backup contains this one
    ended = [log_in(processes.a, name) for name in users]
    alive = log_in(processes.b, users[0])
    backup = back_up(database)
    log_out(processes.a, ended[0])
    log_out(processes.b, ended[1], everywhere=True)
    for _ in range(3):  # begun and ended after the backup
        ended.append(log_in(processes.a, users[0]))
        log_out(processes.a, ended[-1])
    since = time.monotonic()
    for server in processes:
        for cookie in ended:
            seconds_until_refused(server, cookie, since=since)
    restore(backup, database)
    return Past(users, ended, alive)


def test_ended_sessions_stay_ended_after_an_older_backup_is_restored(
    processes: Processes, past: Past
) -> None:
    deadline = time.monotonic() + 1.5  # some polls
    while time.monotonic() < deadline:
        for server in processes:
            assert {server.status(cookie) for cookie in past.ended} == {401}
            assert server.status(past.alive) == 200


def test_logins_and_logouts_work_in_the_restored_database(processes: Processes, past: Past) -> None:
    # Logouts of the user too, whose epoch is higher in memory than in the backup. There are enough
    # of them to reuse the row numbers that the processes have already seen.
    for _ in range(2):
        for name in past.users:
            for server in processes:
                cookie = log_in(server, name)
                assert [each.status(cookie) for each in processes] == [200, 200]
                since = time.monotonic()
                log_out(server, cookie)
                for each in processes:
                    seconds_until_refused(each, cookie, since=since)
    assert [each.status(past.alive) for each in processes] == [200, 200]


def test_a_command_after_a_restore_ends_sessions_missing_from_the_backup(
    processes: Processes, past: Past, settings: Settings, tmp_path: Path
) -> None:
    with hypercorn(settings, tmp_path) as newcomer:
        assert newcomer.status(past.ended[0]) == 200  # the purpose of the command
        processes.run("sessions", "end", "--all")
        since = time.monotonic()
        afterwards = [log_in(processes.a, name) for name in past.users]
        for server in (*processes, newcomer):
            for cookie in (*past.ended, past.alive):
                seconds_until_refused(server, cookie, since=since)
            assert [server.status(cookie) for cookie in afterwards] == [200, 200]
