"""The output for an operator: the plan, the question, progress, one JSON object, one sentence."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import URL

from quart_app.cli.migrate import main
from tests.legacy.migration_runs import (
    SCRIPT,
    TIMEOUT_SECONDS,
    Migrate,
    bytes_of,
    command,
    end_of,
    start,
    state_of,
    without_sessions,
)
from tests.servers import ROOT

# It reads no further than our answers.
ONE_ENGINE = pytest.mark.parametrize("engine_name", ["sqlite"])


def in_terminal(
    url: URL, *arguments: object, answer: bytes | None, **environ: str
) -> tuple[int, str]:
    """Answer its question by keyboard; return the exit code and everything that the screen showed.

    An answer of None interrupts the run.
    """
    keyboard, terminal = os.openpty()
    process = subprocess.Popen(
        command(url, *arguments),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"} | environ,
    )
    os.close(terminal)
    screen, asked = b"", False
    try:
        while True:
            screen += os.read(keyboard, 4096)
            if not asked and b"[y/N]" in screen:
                asked = True
                if answer is None:
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(keyboard, answer)
    except OSError:  # EIO: the terminal was closed with the process
        pass
    finally:
        os.close(keyboard)
    return process.wait(timeout=TIMEOUT_SECONDS), screen.decode()


def test_the_plan_is_printed_before_the_work_begins(legacy_url: URL, tmp_path: Path) -> None:
    before = state_of(legacy_url), bytes_of(legacy_url)
    backup = tmp_path / "sessions.backup"
    code, screen = in_terminal(legacy_url, "--backup", backup, answer=b"n\n")
    assert (code, "Not confirmed. Nothing was changed." in screen) == (2, True)
    plan = screen[: screen.index("[y/N]")]
    for fact in (
        *("user_sessions: 4 rows", "ix_user_sessions_session_id", "3 users must log in again"),
        *("ada, bert", "1 row whose user does not exist", str(backup), "posts"),
    ):
        assert fact in plan
    assert (state_of(legacy_url), bytes_of(legacy_url)) == before
    code, screen = in_terminal(legacy_url, "--backup", backup, answer=b"y\n")
    assert (code, "Done: " in screen) == (0, True)
    assert state_of(legacy_url) == without_sessions(before[0])
    assert "\x1b[" in screen  # progress bars


@ONE_ENGINE
def test_no_color_is_respected_and_the_question_can_be_interrupted(legacy_url: URL) -> None:
    before = bytes_of(legacy_url)
    code, screen = in_terminal(legacy_url, answer=None, NO_COLOR="1")
    assert code == 130, screen
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", screen)
    assert bytes_of(legacy_url) == before


@ONE_ENGINE
def test_without_a_terminal_it_exits_with_2_at_once(legacy_url: URL) -> None:
    before = bytes_of(legacy_url)
    ended = end_of(start(legacy_url))
    assert (ended.code, ended.said) == (2, "")
    assert ended.complained == (
        "Error: There is no terminal to ask for confirmation. Use --yes to run without asking.\n"
    )
    assert bytes_of(legacy_url) == before


@ONE_ENGINE
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_without_a_terminal_the_plan_comes_first_too(
    legacy_url: URL, tmp_path: Path, options: list[str]
) -> None:
    backup = tmp_path / "sessions.backup"
    cases: list[tuple[list[object], list[str]]] = [
        (["--backup", backup], ["Remove    user_sessions: 4 rows", f"Backup    {backup}"]),
        (["--no-return"], ["Erase     0 password hashes", "hashes of 7 users"]),
        (["--restore", backup], [f"Backup    {backup}", "Restore   user_sessions: 4 rows"]),
    ]
    for arguments, facts in cases:
        process = start(legacy_url, "--yes", *options, *arguments, stderr=subprocess.STDOUT)
        ended = end_of(process)
        assert ended.code == 0, ended.said
        plan, _, rest = ended.said.partition("waiting for the database …")
        assert rest
        for fact in facts:
            assert plan.count(fact) == 1
        is_report = [line.startswith('{"outcome"') for line in ended.said.splitlines()]
        assert is_report.index(True) == len(is_report) - 1 if options else True not in is_report


@ONE_ENGINE
def test_a_second_restoration_says_at_once_that_there_is_nothing_to_do(
    legacy_url: URL, migrate: Migrate, tmp_path: Path
) -> None:
    backup = tmp_path / "sessions.backup"
    assert migrate(legacy_url, "--yes", "--backup", backup).code == 0
    assert migrate(legacy_url, "--yes", "--restore", backup).code == 0
    sentence = "Nothing to do: user_sessions is already restored, and equals the backup."
    ended = migrate(legacy_url, "--yes", "--restore", backup)
    assert (ended.code, ended.said) == (0, f"{sentence}\n")
    report = migrate(legacy_url, "--yes", "--json", "--restore", backup).report
    assert (report["outcome"], report["message"]) == ("nothing_to_do", sentence)
    code, screen = in_terminal(legacy_url, "--restore", backup, answer=b"n\n")
    assert (code, "[y/N]" in screen, sentence in screen) == (0, False, True)


@ONE_ENGINE
def test_without_a_terminal_progress_is_printed_as_lines(legacy_url: URL) -> None:
    ended = end_of(start(legacy_url, "--yes"))
    assert ended.code == 0
    assert re.search(r"(?m)^backup: \d+ pages, [\d,]+ pages/s, \d+\.\d s$", ended.complained)
    assert "\x1b" not in ended.said + ended.complained


@ONE_ENGINE
@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        (["--check"], "pending"),
        (["--yes"], "done"),
        (["--dry-run"], "done"),
        (["--yes", "--backup", "/nowhere/at/all"], "refused"),
        (["--yes", "--restore", "/nowhere/at/all"], "refused"),
        ([], "wrong_usage"),
        (["--backup", "x", "--no-backup"], "wrong_usage"),
        (["--nonsense"], "wrong_usage"),
        (["--database-url", "mysql://x"], "wrong_usage"),
    ],
)
def test_json_output_is_one_object_in_every_case(
    legacy_url: URL,
    migrate: Migrate,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    outcome: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    report = migrate(legacy_url, "--json", *arguments).report
    assert report["outcome"] == outcome
    assert report["message"]


@ONE_ENGINE
@pytest.mark.parametrize(
    "arguments",
    [
        ["--check", "--dry-run"],
        ["--restore", "x", "--no-backup"],
        ["--backup", "x", "--no-backup"],
        ["extra"],
    ],
)
def test_wrong_usage_exits_with_2(legacy_url: URL, migrate: Migrate, arguments: list[str]) -> None:
    before = bytes_of(legacy_url)
    ended = migrate(legacy_url, "--yes", *arguments)
    assert (ended.code, ended.said) == (2, "")
    assert ended.complained.startswith("Error: ")
    assert bytes_of(legacy_url) == before


def test_a_password_is_never_printed(migrate: Migrate, empty_database_url: URL) -> None:
    url = empty_database_url
    if url.get_backend_name() == "postgresql":
        url = url.set(password="hunter2", username="nobody")
        ended = migrate(url, "--check", "--verbose")
        assert ended.code == 1
        away = url.set(host="127.0.0.1", port=1, query={"sslpassword": "hunter2"})
        ended = migrate(away, "--check", "--json")
        assert (ended.code, "hunter2" in ended.said + ended.complained) == (1, False)
    ended = migrate(url, "--check", "--database-url", "postgresql://a:hunter2@[::1/x")
    assert (ended.code, "hunter2" in ended.said + ended.complained) == (2, False)


@ONE_ENGINE
def test_the_default_database_comes_from_the_settings(
    legacy_url: URL, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUART_APP_DATABASE_URL", f"sqlite:///{legacy_url.database}")
    assert main(["--check", "--json"]) == 4
    assert json.loads(capsys.readouterr().out)["database"] == f"sqlite:///{legacy_url.database}"
    monkeypatch.setenv("QUART_APP_DATABASE_URL", "mysql://x")
    assert main(["--check"]) == 2
    assert "QUART_APP_DATABASE_URL must start with" in capsys.readouterr().err


@ONE_ENGINE
def test_a_report_that_cannot_be_written_changes_no_outcome(legacy_url: URL) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            command(legacy_url, "--yes", "--json"),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    assert ended.returncode == 0
    assert ended.stderr.endswith("Writing the output failed: No space left on device.\n")
    assert "user_sessions" not in state_of(legacy_url)[0]


@ONE_ENGINE
def test_relative_paths_are_relative_to_the_working_directory(
    legacy_url: URL, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    relative = legacy_url.set(database="../test.db")
    ended = end_of(start(relative, "--yes", "--backup", "here.backup", cwd=folder))
    assert ended.code == 0, ended.complained
    assert (folder / "here.backup").exists()
    assert list(ROOT.glob("here.backup")) == []


def test_the_help_lists_every_option_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    for option in (
        *("--database-url", "--dry-run", "--check", "--backup", "--no-backup", "--yes"),
        *("--restore", "--carry-over-active-platform", "--no-return", "--json", "--verbose"),
        *("1 failed", "2 wrong usage", "3 refused", "4 work", "5 the database", "130"),
    ):
        assert option in said
    assert SCRIPT.name in said


pytestmark = pytest.mark.sqlite_unless_thorough
