"""A killed, interrupted, blocked or duplicate run does everything or nothing."""

import os
import random
import resource
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL

from quart_app.storage.sqlite import BUSY_TIMEOUT_SECONDS
from tests.cases import first_unless_thorough
from tests.legacy.migration_runs import (
    TIMEOUT_SECONDS,
    Ended,
    Migrate,
    State,
    bytes_of,
    change,
    end_of,
    start,
    state_of,
    without_sessions,
)
from tests.poolers import pgbouncer
from tests.processes import psycopg_connection

# The beginnings of progress lines; a kill comes right after one was printed.
STEPS = [
    "waiting for the database",
    "backup",
    "checking the backup",
    "checksums before",
    "adopting the schema",
    "removing user_sessions",
    "checking foreign keys",
    "checksums after",
]
# The steps that write come first.
KILLED_AT = [*STEPS[4:6], *STEPS[:2], *STEPS[2:4], *STEPS[6:]]
ROWS = 3000


def fill(url: URL) -> None:
    """Add enough rows that a kill comes in the middle of the work."""
    at = "CAST('2025-01-09 12:00:00' AS TIMESTAMP)"
    at = at if url.get_backend_name() == "postgresql" else "'2025-01-09 12:00:00'"
    change(
        url,
        "INSERT INTO user_sessions (id, session_id, user_id, created_at, updated_at)"  # noqa: S608 our own numbers
        f" WITH RECURSIVE n (i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})"
        f" SELECT i, 'session ' || i, 1, {at}, {at} FROM n",
    )


@pytest.fixture
def before(legacy_url: URL) -> State:
    fill(legacy_url)
    return state_of(legacy_url)


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    """Read the progress output until this line."""
    assert process.stderr is not None
    for said in process.stderr:
        if said.startswith(line):
            return
    pytest.fail(f"it never came to {line!r}")


def wait_until_gone(url: URL) -> None:
    """Wait until the server has noticed that a client is gone."""
    if url.get_backend_name() != "postgresql":
        return
    deadline = time.monotonic() + TIMEOUT_SECONDS
    with psycopg_connection(url, autocommit=True) as connection:
        while connection.execute(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'quart_app migration'"
        ).fetchone():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def wait_until_nobody_locks(url: URL) -> None:
    """Wait until no transaction on this server (PostgreSQL) locks a table of ours."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    with psycopg_connection(url, autocommit=True) as connection:
        while connection.execute(
            "SELECT 1 FROM pg_locks WHERE relation = to_regclass('users')"
        ).fetchone():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=TIMEOUT_SECONDS)


def is_done(url: URL, before: State) -> bool:
    """Return whether everything happened; otherwise check that nothing did."""
    after = state_of(url)
    if "user_sessions" in after[0]:
        assert after == before
        return False
    assert after == without_sessions(before)
    return True


@pytest.mark.parametrize("step", first_unless_thorough(4, KILLED_AT))
def test_a_kill_at_any_step_leaves_the_database_unchanged(
    legacy_url: URL, before: State, migrate: Migrate, tmp_path: Path, step: str
) -> None:
    process = start(legacy_url, "--yes", "--backup", tmp_path / "killed.backup")
    wait_for(process, f"{step} …")
    kill(process)
    wait_until_gone(legacy_url)
    # It continues while it is being killed, and the last step is followed by the commit.
    if not is_done(legacy_url, before):
        assert migrate(legacy_url, "--yes", "--backup", tmp_path / "second").code == 0
        assert state_of(legacy_url) == without_sessions(before)


@pytest.mark.parametrize("engine_name", ["postgresql"])
@pytest.mark.parametrize("step", ["removing user_sessions", "checksums after"])
def test_a_kill_through_a_pooler_leaves_the_database_unchanged(
    legacy_url: URL,
    before: State,
    migrate: Migrate,
    tmp_path: Path,
    *,
    pytestconfig: pytest.Config,
    step: str,
) -> None:
    with pgbouncer(pytestconfig, legacy_url) as pooled_url:
        process = start(pooled_url, "--yes", "--backup", tmp_path / "killed.backup")
        wait_for(process, f"{step} …")
        kill(process)
        # The pooler keeps its connection to the server; only the transaction on it ends.
        wait_until_nobody_locks(legacy_url)
        if not is_done(legacy_url, before):
            assert migrate(pooled_url, "--yes", "--backup", tmp_path / "second").code == 0
            assert state_of(legacy_url) == without_sessions(before)


@pytest.mark.timeout(3600)  # the seconds that --thorough tries
def test_a_kill_at_any_moment_leaves_a_whole_database(
    legacy_url: URL,
    before: State,
    migrate: Migrate,
    tmp_path: Path,
    thorough: bool,  # noqa: FBT001 a fixture
) -> None:
    moments = random.Random(7)  # noqa: S311 no secret
    for number in range(60 if thorough else 3):
        backup = tmp_path / f"{number}.backup"
        process = start(legacy_url, "--yes", "--backup", backup)
        wait_for(process, "waiting for the database …")
        time.sleep(moments.uniform(0, 0.4))
        kill(process)
        wait_until_gone(legacy_url)
        if is_done(legacy_url, before):
            assert migrate(legacy_url, "--yes", "--restore", backup).code == 0
            assert state_of(legacy_url) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_rolls_back_and_says_so(
    legacy_url: URL, before: State, tmp_path: Path, number: signal.Signals
) -> None:
    bytes_before = bytes_of(legacy_url)
    with _held(legacy_url) if number is signal.SIGINT else _nothing():
        process = start(legacy_url, "--yes", "--json", "--backup", tmp_path / "b")
        wait_for(process, "waiting for the database …" if number is signal.SIGINT else "backup …")
        if number is signal.SIGINT:
            time.sleep(0.3)  # by now it waits for the lock
        process.send_signal(number)
        ended = end_of(process)
    assert ended.code == 130
    assert ended.report["outcome"] == "interrupted"
    assert state_of(legacy_url) == before
    assert bytes_of(legacy_url) == bytes_before
    assert list(tmp_path.glob("*b*")) == [
        path for path in tmp_path.glob("*b*") if path.name.startswith("test.db")
    ]


class _nothing:  # noqa: N801 reads as what it is
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_a_lock_timeout_exits_with_5(legacy_url: URL, before: State, migrate: Migrate) -> None:
    bytes_before = bytes_of(legacy_url)
    with _held(legacy_url):
        began = time.monotonic()
        ended = migrate(legacy_url, "--yes")
        assert time.monotonic() - began < 2 * BUSY_TIMEOUT_SECONDS + 5
    assert (ended.code, "is busy" in ended.complained) == (5, True)
    assert state_of(legacy_url) == before
    assert bytes_of(legacy_url) == bytes_before


class _held:  # noqa: N801
    """The legacy application is in the middle of a transaction."""

    def __init__(self, url: URL) -> None:
        self.url = url

    def __enter__(self) -> None:
        if self.url.get_backend_name() == "sqlite":
            self.connection: Any = sqlite3.connect(self.url.database or "", isolation_level=None)
            self.connection.execute("BEGIN IMMEDIATE")
        else:
            dsn = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
            self.connection = psycopg.connect(dsn)
            self.connection.execute("SELECT 1 FROM users LIMIT 1")

    def __exit__(self, *_: object) -> None:
        self.connection.close()


def test_one_of_two_concurrent_runs_does_the_work(
    legacy_url: URL, before: State, tmp_path: Path
) -> None:
    processes = [start(legacy_url, "--yes", "--backup", tmp_path / f"{n}.backup") for n in (1, 2)]
    ends: list[Ended] = [end_of(process) for process in processes]
    said = "".join(ended.said for ended in ends)
    assert said.count("Done: ") == 1
    assert sorted(ended.code for ended in ends) in ([0, 0], [0, 5])
    assert said.count("Nothing to do") == [ended.code for ended in ends].count(0) - 1
    assert state_of(legacy_url) == without_sessions(before)
    assert len(list(tmp_path.glob("*.backup"))) == 1


# A trigger of another program that does too much while the schema is adopted.
MEDDLING = {
    "sqlite": [
        (
            "CREATE TRIGGER meddling AFTER UPDATE ON users"
            " BEGIN UPDATE posts SET post_content = 'changed' WHERE id = 1; END"
        ),
    ],
    "postgresql": [
        (
            "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " UPDATE posts SET post_content = 'changed' WHERE id = 1; RETURN NEW; END $$"
        ),
        "CREATE TRIGGER meddling AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION meddle()",
    ],
}


def test_a_check_that_fails_midway_rolls_everything_back(
    legacy_url: URL, migrate: Migrate, tmp_path: Path
) -> None:
    change(legacy_url, *MEDDLING[legacy_url.get_backend_name()])
    before = state_of(legacy_url), bytes_of(legacy_url)
    ended = migrate(legacy_url, "--yes", "--backup", tmp_path / "b")
    assert ended.code == 1
    assert "Rows of posts would have been changed" in ended.complained
    assert (state_of(legacy_url), bytes_of(legacy_url)) == before
    assert not (tmp_path / "b").exists()


def test_a_refused_adoption_rolls_everything_back(
    legacy_url: URL, migrate: Migrate, tmp_path: Path
) -> None:
    change(legacy_url, "CREATE TABLE audit (id INTEGER)")
    before = state_of(legacy_url), bytes_of(legacy_url)
    ended = migrate(legacy_url, "--yes", "--backup", tmp_path / "b")
    assert ended.code == 3
    assert "There is already a table audit" in ended.complained
    assert (state_of(legacy_url), bytes_of(legacy_url)) == before
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("engine_name", "what"),
    [("sqlite", "backup"), ("postgresql", "backup"), ("sqlite", "database")],
)
def test_a_full_disk_rolls_everything_back(
    legacy_url: URL, before: State, tmp_path: Path, what: str
) -> None:
    """Limit the file size, so that the backup or the database cannot be written."""
    bytes_before = bytes_of(legacy_url)
    largest = 20_000 if what == "backup" else Path(legacy_url.database or "").stat().st_size

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    options = ["--backup", tmp_path / "b"] if what == "backup" else ["--no-backup"]
    ended = end_of(
        start(
            legacy_url,
            *("--yes", *options),
            preexec_fn=limit,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )
    )
    assert ended.code == 1
    assert ended.complained.splitlines()[-1].startswith(
        ("Error: The disk", "Error: Reading or writing the disk failed")
    )
    assert state_of(legacy_url) == before
    assert bytes_of(legacy_url) == bytes_before
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize("how", ["a log is left over", "in WAL mode"])
@pytest.mark.parametrize("arguments", [["--check"], ["--yes"], ["--dry-run"]])
def test_a_write_ahead_log_is_kept(
    legacy_url: URL, migrate: Migrate, how: str, arguments: list[str]
) -> None:
    path = Path(legacy_url.database or "")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("UPDATE posts SET post_content = 'in the log'")
        log = path.with_name(f"{path.name}-wal").read_bytes()
        saved = path.read_bytes()
    if how == "a log is left over":  # like a process that was killed
        path.write_bytes(saved)
        path.with_name(f"{path.name}-wal").write_bytes(log)
    if arguments == ["--yes"]:
        change(legacy_url, "CREATE TABLE audit (id INTEGER)")
        if how == "a log is left over":
            # Written by another process that was killed.
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute("UPDATE posts SET post_content = 'changed'")
                log = path.with_name(f"{path.name}-wal").read_bytes()
                saved = path.read_bytes()
            path.write_bytes(saved)
            path.with_name(f"{path.name}-wal").write_bytes(log)
    before = bytes_of(legacy_url)
    ended = migrate(legacy_url, *arguments)
    assert ended.code == {"--check": 4, "--yes": 3, "--dry-run": 0}[arguments[0]]
    assert bytes_of(legacy_url) == before
    assert state_of(legacy_url)[0]["posts"][1][0][3] in {"in the log", "changed"}


pytestmark = pytest.mark.sqlite_unless_thorough
