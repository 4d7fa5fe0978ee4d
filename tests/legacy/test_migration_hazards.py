"""Events on an operator's machine during a run: signals after the commit, clocks, other files."""

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from quart_app.migration import messages, removal, restoration, runner
from quart_app.migration.carry_over import carry_over_active_platforms
from tests.file_systems import mounted
from tests.legacy.legacy_database import connected
from tests.legacy.migration_runs import (
    TIMEOUT_SECONDS,
    Migrate,
    bytes_of,
    change,
    command,
    end_of,
    start,
    state_of,
)
from tests.legacy.test_migration_killed import wait_for

# It reads no further than our answers.
ONE_ENGINE = pytest.mark.parametrize("engine_name", ["sqlite"])


@ONE_ENGINE
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, None])
def test_nothing_after_the_commit_changes_the_outcome(
    legacy_url: URL,
    migrate: Migrate,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals | None,
) -> None:
    real = messages.removed_in_words

    def disturbed(*arguments: object, **options: object) -> str:
        if number is None:
            raise RuntimeError("a bug of ours")
        signal.raise_signal(number)
        return real(*arguments, **options)  # type: ignore[arg-type]

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(messages, "removed_in_words", disturbed)
    ended = migrate(legacy_url, "--yes")
    assert (ended.code, "unchanged." in ended.complained) == (0, False)
    assert "Done: " in ended.said
    assert "user_sessions" not in state_of(legacy_url)[0]
    assert signal.getsignal(signal.SIGINT) is before


@ONE_ENGINE
def test_a_run_interrupted_until_it_ends_reports_the_outcome(
    legacy_url: URL, tmp_path: Path
) -> None:
    process = start(legacy_url, "--yes", "--json", "--backup", tmp_path / "b")
    wait_for(process, "removing user_sessions:")
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    ended = end_of(process)
    gone = "user_sessions" not in state_of(legacy_url)[0]
    assert (ended.code, ended.report["outcome"]) == ((0, "done") if gone else (130, "interrupted"))


def test_the_last_removal_is_found_in_spite_of_a_wrong_clock(
    legacy_url: URL, migrate: Migrate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # noqa: ARG003 as it is called
            return datetime(2091, 1, 1, tzinfo=UTC)

    early, late = tmp_path / "early", tmp_path / "late"
    with monkeypatch.context() as patch:
        patch.setattr(removal, "datetime", Ahead)
        assert migrate(legacy_url, "--yes", "--backup", early).code == 0
    assert migrate(legacy_url, "--yes", "--restore", early).code == 0
    change(legacy_url, "UPDATE user_sessions SET user_agent = 'since' WHERE id = 1")
    before = state_of(legacy_url)
    assert migrate(legacy_url, "--yes", "--backup", late).code == 0
    assert str(late) in migrate(legacy_url, "--check").said
    ended = migrate(legacy_url, "--yes", "--restore", early)
    assert (ended.code, "is of an earlier migration" in ended.complained) == (3, True)
    assert migrate(legacy_url, "--yes", "--restore", late).code == 0
    assert state_of(legacy_url) == before


@ONE_ENGINE
@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_backup_gets_no_name_that_sqlite_would_delete(
    legacy_url: URL, migrate: Migrate, tmp_path: Path, suffix: str, *, linked: bool
) -> None:
    file = Path(legacy_url.database or "")
    url, bytes_before = legacy_url, bytes_of(legacy_url)
    if linked:
        (tmp_path / "elsewhere").mkdir()
        link = tmp_path / "elsewhere" / "link.db"
        link.symlink_to(file)
        url = url.set(database=str(link))
    ended = migrate(url, "--yes", "--backup", f"{file}{suffix}")
    assert (ended.code, "the database's own files" in ended.complained) == (3, True)
    assert bytes_of(legacy_url) == bytes_before


def test_nothing_is_committed_without_the_backup(
    legacy_url: URL, migrate: Migrate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backup, before = tmp_path / "b", state_of(legacy_url)

    def tidied(*arguments: object) -> int:
        backup.unlink()
        return carry_over_active_platforms(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(removal, "carry_over_active_platforms", tidied)
    ended = migrate(legacy_url, "--yes", "--backup", backup, "--carry-over-active-platform")
    assert (ended.code, "was moved or deleted" in ended.complained) == (1, True)
    assert state_of(legacy_url) == before


@pytest.mark.parametrize("how", ["changed", "replaced"])
def test_a_backup_that_changes_after_the_question_is_refused(
    legacy_url: URL, migrate: Migrate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    backup, other = tmp_path / "b", tmp_path / "other"
    assert migrate(legacy_url, "--yes", "--backup", other).code == 0
    assert migrate(legacy_url, "--yes", "--restore", other).code == 0
    assert migrate(legacy_url, "--yes", "--backup", backup).code == 0
    before = state_of(legacy_url)
    real = restoration.open_backup

    def changing(*arguments: Any) -> object:
        found = real(*arguments)
        if how == "replaced":
            other.replace(backup)
        else:
            with backup.open("r+b") as file:
                file.seek(60)  # SQLite stores a number of the user's choice there
                file.write(b"#")
        return found

    monkeypatch.setattr(runner, "open_backup", changing)
    ended = migrate(legacy_url, "--yes", "--restore", backup)
    assert (ended.code, f"was {how}" in ended.complained) == (3, True)
    assert state_of(legacy_url) == before


@ONE_ENGINE
def test_a_run_with_closed_outputs_completes(legacy_url: URL) -> None:
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command(legacy_url, "--yes")],
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert ended.returncode == 0
    assert "user_sessions" not in state_of(legacy_url)[0]


@ONE_ENGINE
def test_unencodable_characters_are_printed_as_escapes(legacy_url: URL) -> None:
    process = start(legacy_url, "--check", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    ended = end_of(process)
    assert (ended.code, "\\u0396" in ended.said) == (4, True), ended


HOSTILE_NAME = "a\x1b[2J\n\u202eDone: b \N{SNOWMAN}"


def test_a_table_of_any_name_is_counted_and_kept(
    legacy_url: URL, migrate: Migrate, tmp_path: Path
) -> None:
    change(
        legacy_url,
        'CREATE TABLE "50% off:x" ("a %s" INTEGER)',
        # A key to a shared table is locked, checked and named.
        f'CREATE TABLE "{HOSTILE_NAME}" ("{HOSTILE_NAME}" INTEGER REFERENCES users (id))',
        f'CREATE INDEX "i{HOSTILE_NAME}" ON user_sessions (user_agent)',
        f'ALTER TABLE user_sessions ADD COLUMN "{HOSTILE_NAME}" INTEGER',
    )
    with connected(legacy_url) as execute:
        rename = {
            "sqlite": "UPDATE users SET username = ? WHERE id = 1",
            "postgresql": "UPDATE users SET username = %s WHERE id = 1",
        }
        execute(rename[legacy_url.get_backend_name()], [HOSTILE_NAME])
    before, backup = state_of(legacy_url), tmp_path / "b"
    checked = migrate(legacy_url, "--check", "--verbose")
    assert "50% off:x " in checked.said
    runs = [
        checked,
        migrate(legacy_url, "--dry-run", "--verbose"),
        migrate(legacy_url, "--yes", "--verbose", "--backup", backup),
        migrate(legacy_url, "--yes", "--verbose", "--restore", backup),
    ]
    assert [ended.code for ended in runs] == [4, 0, 0, 0]
    assert state_of(legacy_url) == before
    for ended in runs:
        shown = ended.said + ended.complained
        assert not any(character in shown for character in "\x1b\u202e")
        assert "\nDone: b" not in shown


@ONE_ENGINE
def test_escape_codes_in_a_path_are_shown_literally(
    legacy_url: URL, migrate: Migrate, tmp_path: Path
) -> None:
    folder = tmp_path / "a\x1b[31mb"
    folder.mkdir()
    Path(legacy_url.database or "").rename(folder / "test.db")
    url = legacy_url.set(database=str(folder / "test.db"))
    for arguments, code in ((["--check"], 4), (["--yes"], 0), (["--yes"], 0)):
        ended = migrate(url, *arguments)
        assert (ended.code, "\x1b" in ended.said + ended.complained) == (code, False)
        assert "a\\x1b[31mb" in ended.said
    ended = migrate(url.set(database=str(folder / "no.db")), "--check")
    assert (ended.code, "\x1b" in ended.complained) == (3, False)


@ONE_ENGINE
def test_a_backup_is_readable_by_its_owner_only_whatever_the_umask(
    legacy_url: URL, migrate: Migrate, tmp_path: Path
) -> None:
    before = os.umask(0o777)
    try:
        ended = migrate(legacy_url, "--yes", "--backup", tmp_path / "b")
    finally:
        os.umask(before)
    assert ended.code == 0, ended.complained
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("engine_name", ["postgresql"])
def test_each_listed_table_has_one_lock_in_the_plan(legacy_url: URL, migrate: Migrate) -> None:
    locks = migrate(legacy_url, "--dry-run", "--json").report["locks"]
    tables = [lock.rpartition(" ")[2] for lock in locks]
    assert sorted(set(tables)) == sorted(tables)
    assert "AccessExclusiveLock on users" in locks
    assert not {"audit", "logins", "quart_app_version"} & set(tables)


@ONE_ENGINE
def test_the_check_refuses_objects_that_need_another_program(
    legacy_url: URL, migrate: Migrate
) -> None:
    with closing(sqlite3.connect(legacy_url.database or "")) as connection:
        connection.create_collation("odd", lambda a, b: (a > b) - (a < b))
        connection.execute("CREATE INDEX by_odd ON posts (id COLLATE odd)")
    for argument in ("--check", "--yes"):
        ended = migrate(legacy_url, argument)
        assert (ended.code, "no such collation sequence: odd" in ended.complained) == (3, True)


@ONE_ENGINE
def test_a_name_that_is_not_utf_8_is_refused_in_one_sentence(
    legacy_url: URL, migrate: Migrate, tmp_path: Path
) -> None:
    ended = migrate(legacy_url, "--yes", "--backup", tmp_path / "b\udcff")
    assert (ended.code, "is not UTF-8" in ended.complained) == (3, True)


def test_a_dry_run_needs_no_writable_folder(
    legacy_url: URL, migrate: Migrate, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    with mounted(pytestconfig, tmp_path / "read-only", "ro,size=256m") as folder:
        assert migrate(legacy_url, "--dry-run", "--backup", folder / "b").code == 0
        ended = migrate(legacy_url, "--yes", "--backup", folder / "b")
        assert (ended.code, "Read-only file system" in ended.complained) == (3, True)


pytestmark = pytest.mark.sqlite_unless_thorough
