"""What an operator's machine does meanwhile: signals after the commit, clocks, other files."""

import signal
import time
from pathlib import Path

import pytest
from sqlalchemy import URL

from quart_app.migration import console
from tests.legacy.migrating import Migrate, end_of, start, state_of
from tests.legacy.test_migration_killed import wait_for

ONE_ENGINE = pytest.mark.parametrize("engine_name", ["sqlite"])  # it reads no further than us


@ONE_ENGINE
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, None])
def test_after_the_commit_nothing_changes_the_outcome(
    legacy_url: URL,
    migrate: Migrate,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals | None,
) -> None:
    real = console.removed_in_words

    def disturbed(*arguments: object, **options: object) -> str:
        if number is None:
            raise RuntimeError("a bug of ours")
        signal.raise_signal(number)
        return real(*arguments, **options)  # type: ignore[arg-type]

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(console, "removed_in_words", disturbed)
    ended = migrate(legacy_url, "--yes")
    assert (ended.code, "as it was." in ended.complained) == (0, False)
    assert "Done: " in ended.said
    assert "user_sessions" not in state_of(legacy_url)[0]
    assert signal.getsignal(signal.SIGINT) is before


@ONE_ENGINE
def test_interrupted_until_it_ends_it_tells_what_happened(legacy_url: URL, tmp_path: Path) -> None:
    process = start(legacy_url, "--yes", "--json", "--backup", tmp_path / "b")
    wait_for(process, "removing user_sessions:")
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    ended = end_of(process)
    gone = "user_sessions" not in state_of(legacy_url)[0]
    assert (ended.code, ended.report["outcome"]) == ((0, "done") if gone else (130, "interrupted"))
