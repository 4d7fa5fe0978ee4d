"""Parallel workers: tests that must run alone, and the report at the end of the run.

`scripts/test` starts two workers more than there are cores (pytest-xdist); a single process needs
no waiting.
"""

import fcntl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class RunReport:
    """The facts about this machine and the measurements that the run prints at the end."""

    lacking: set[str] = field(default_factory=set)
    measured: list[str] = field(default_factory=list)


run_report = RunReport()


def is_worker(config: pytest.Config) -> bool:
    """Return whether other processes run tests of the same run at the same time."""
    return hasattr(config, "workerinput")


def uses_processes(item: pytest.Item) -> bool:
    """Return whether the test uses the two processes that tests share."""
    return "processes" in getattr(item, "fixturenames", ())


def must_run_alone(item: pytest.Item) -> bool:
    """Return whether no other test may run at the same time, because it has a time limit.

    Most tests that use the two processes have one; those marked `untimed` only wait.
    """
    if item.get_closest_marker("alone") is not None:
        return True
    return uses_processes(item) and item.get_closest_marker("untimed") is None


def runs_only_if_thorough(item: pytest.Item, collected: set[str]) -> bool:
    """Return whether only --thorough runs it: always, or on PostgreSQL because SQLite runs it."""
    if item.get_closest_marker("thorough") is not None:
        return True
    parameters = getattr(item, "callspec", None)
    return (
        item.get_closest_marker("sqlite_unless_thorough") is not None
        and parameters is not None
        and "postgresql" in parameters.params.values()
        and item.nodeid.replace("postgresql", "sqlite") in collected
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out long tests, and give those that must be alone to one worker, at the end."""
    if not config.getoption("thorough"):
        collected = {item.nodeid for item in items}
        long = [item for item in items if runs_only_if_thorough(item, collected)]
        config.hook.pytest_deselected(items=long)
        if long:
            run_report.lacking.add(
                f"{len(long)} long tests, or on PostgreSQL: --thorough runs them"
            )
        items[:] = [item for item in items if item not in long]
    if is_worker(config):
        items.sort(key=must_run_alone)
        for item in items:
            if must_run_alone(item):
                item.add_marker(pytest.mark.xdist_group("alone"))
            elif uses_processes(item):  # one worker starts them once
                item.add_marker(pytest.mark.xdist_group("processes"))


@pytest.fixture(autouse=True)
def turn(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Start a test that must be alone when no other worker's test runs, and keep others waiting."""
    if not is_worker(request.config):
        yield
        return
    everybodys = tmp_path_factory.getbasetemp().parent
    with Path(everybodys, "turn").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if must_run_alone(request.node) else fcntl.LOCK_SH)
        yield


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send a worker's report to the main process."""
    if is_worker(session.config):
        output = session.config.workeroutput  # type: ignore[attr-defined] # pytest-xdist's
        output["lacking"] = sorted(run_report.lacking)
        output["measured"] = run_report.measured


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_testnodedown(node: Any) -> None:
    """Add a worker's report; a worker that crashed has none, and is a failure itself."""
    output = getattr(node, "workeroutput", {})
    run_report.lacking.update(output.get("lacking", ()))
    run_report.measured.extend(output.get("measured", ()))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the parts that this machine lacks, and the measurements."""
    if run_report.lacking:
        terminalreporter.section("not tested in this run")
        for part in sorted(run_report.lacking):
            terminalreporter.line(part)
    if run_report.measured:
        terminalreporter.section("measured")
        for line in sorted(run_report.measured):
            terminalreporter.line(line)
