"""Migrate, kill, restore, use and migrate again, in any order: the legacy data never differs."""

import contextlib
import io
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import URL

from quart_app.cli.migrate import main
from quart_app.settings import read_database_url
from tests.conftest import ENCRYPTION_KEY, _postgres_database, administer
from tests.legacy.legacy_database import build_legacy_database
from tests.legacy.migration_runs import State, as_text, change, start, state_of, without_sessions

Fresh = Callable[[], contextlib.AbstractContextManager[URL]]
# The progress line after which it is killed, and the seconds to wait then.
_STEPS = [
    "looking",
    "waiting for the database",
    "backup",
    "adopting",
    "removing",
    "checksums after",
]
_OF_RESTORING = ["waiting for the database", "rows", "indexes", "comparing"]


class Migrations(RuleBasedStateMachine):
    """A legacy database, its expected contents, and its backup.

    The effect of a kill depends on timing, so no rule has a precondition, which Hypothesis would
    report as flaky. A rule that does not apply does nothing.
    """

    def __init__(self, fresh: Fresh, folder: Path) -> None:
        super().__init__()
        self.stack, self.folder = ExitStack(), folder
        self.url = self.stack.enter_context(fresh())
        self.expected: State = state_of(self.url)  # with the sessions of the last step
        self.stands, self.ids = True, 0
        self.backup: Path | None = None

    def teardown(self) -> None:
        self.stack.close()

    def run(self, *arguments: object) -> int:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return main(["--database-url", as_text(self.url), "--yes", *map(str, arguments)])

    def new_backup(self) -> Path:
        self.ids += 1
        return self.folder / f"{id(self)}-{self.ids}.backup"

    def run_and_kill(self, step: str, later: float, *arguments: object) -> None:
        process = start(self.url, "--yes", *arguments)
        assert process.stderr is not None
        for said in process.stderr:
            if said.startswith(f"{step}"):
                time.sleep(later)
                break
        process.kill()
        process.communicate(timeout=60)
        if self.url.get_backend_name() == "postgresql":
            name, server = self.url.database, self.url.set(database="postgres")
            administer(
                server,
                "DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_stat_activity"
                f" WHERE datname = '{name}') LOOP"
                " PERFORM pg_sleep(0.02), pg_stat_clear_snapshot(); END LOOP; END $$",
            )

    @rule()
    def migrate(self) -> None:
        backup = self.new_backup()
        assert self.run("--backup", backup) == 0
        if self.stands:
            self.stands, self.backup = False, backup
        assert backup.exists() == (self.backup == backup)

    @rule(step=st.sampled_from(_STEPS), later=st.floats(0, 0.1))
    def migrate_and_kill(self, step: str, later: float) -> None:
        if not self.stands:
            return
        backup = self.new_backup()
        self.run_and_kill(step, later, "--backup", backup)
        if "user_sessions" not in state_of(self.url)[0]:
            self.stands, self.backup = False, backup

    @rule()
    def restore(self) -> None:
        if self.backup is None:
            return
        assert self.run("--restore", self.backup) == 0
        self.stands = True

    @rule(step=st.sampled_from(_OF_RESTORING), later=st.floats(0, 0.1))
    def restore_and_kill(self, step: str, later: float) -> None:
        if self.backup is None or self.stands:
            return
        self.run_and_kill(step, later, "--restore", self.backup)
        self.stands = "user_sessions" in state_of(self.url)[0]

    @rule()
    def check(self) -> None:
        assert self.run("--check") == (4 if self.stands else 0)

    @rule(content=st.text(st.characters(codec="utf-8", exclude_characters="\0'%:")))
    def add_a_post(self, content: str) -> None:
        change(self.url, f"UPDATE posts SET post_content = '{content}' WHERE id = 1")  # noqa: S608
        rows, schema = state_of(self.url)
        self.expected = (self.expected[0] | {"posts": rows["posts"]}, schema | self.expected[1])

    @invariant()
    def legacy_data_is_unchanged(self) -> None:
        expected = self.expected if self.stands else without_sessions(self.expected)
        assert state_of(self.url) == expected


@pytest.fixture
def fresh(engine_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fresh]:
    """Builds a legacy database for each run."""
    if engine_name == "sqlite":
        template = tmp_path / "template.db"
        build_legacy_database(f"sqlite:///{template}", encryption_key=ENCRYPTION_KEY)
        numbers = iter(range(1_000_000))

        def copy() -> contextlib.AbstractContextManager[URL]:
            path = tmp_path / f"{next(numbers)}.db"
            shutil.copy(template, path)
            return contextlib.nullcontext(read_database_url(f"sqlite:///{path}"))

        yield copy
        return
    server: URL = request.getfixturevalue("postgres")
    with _postgres_database(server, "template0") as url:
        build_legacy_database(url, encryption_key=ENCRYPTION_KEY)
        yield lambda: _postgres_database(server, str(url.database))


@pytest.mark.timeout(3600)  # the number that --thorough runs
def test_no_order_of_steps_changes_the_legacy_applications_data(
    fresh: Fresh,
    tmp_path: Path,
    thorough: bool,  # noqa: FBT001 a fixture
) -> None:
    machine: Any = lambda: Migrations(fresh, tmp_path)  # noqa: E731
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=100 if thorough else 3,
            stateful_step_count=12 if thorough else 6,
            deadline=None,
            database=None,
            derandomize=not thorough,
            suppress_health_check=list(HealthCheck),
        ),
    )
