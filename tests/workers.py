"""Several workers that share the tests of one run: who must be alone, and what is said at the end.

`scripts/test` has a worker more than cores (pytest-xdist); in a single process nothing waits.
"""

import fcntl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class SaidAtTheEnd:
    """What the run says of this machine when all tests are over."""

    lacking: set[str] = field(default_factory=set)
    measured: list[str] = field(default_factory=list)


said_at_the_end = SaidAtTheEnd()


def is_worker(config: pytest.Config) -> bool:
    """Tell whether other processes run tests of the same run at the same time."""
    return hasattr(config, "workerinput")


def asks_processes(item: pytest.Item) -> bool:
    """Tell whether it asks the two processes that tests share."""
    return "processes" in getattr(item, "fixturenames", ())


def is_alone(item: pytest.Item) -> bool:
    """Tell whether no other test may run beside it, for it holds a bound on time.

    So do most who ask two processes; not those that wait more than they compute.
    """
    if item.get_closest_marker("alone") is not None:
        return True
    return asks_processes(item) and item.get_closest_marker("untimed") is None


def is_long(item: pytest.Item, collected: set[str]) -> bool:
    """Tell whether it waits for --thorough: all of it, or on PostgreSQL what SQLite runs."""
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
    """Leave out what is long, and to one worker, at the end, those that must be alone."""
    if not config.getoption("thorough"):
        collected = {item.nodeid for item in items}
        long = [item for item in items if is_long(item, collected)]
        config.hook.pytest_deselected(items=long)
        if long:
            said_at_the_end.lacking.add(
                f"{len(long)} long tests, or on PostgreSQL: --thorough runs them"
            )
        items[:] = [item for item in items if item not in long]
    if is_worker(config):
        items.sort(key=is_alone)
        for item in items:
            if is_alone(item):
                item.add_marker(pytest.mark.xdist_group("alone"))
            elif asks_processes(item):  # one worker starts them once
                item.add_marker(pytest.mark.xdist_group("processes"))


@pytest.fixture(autouse=True)
def turn(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Let a test that must be alone begin when no other worker's test runs, and none beside it."""
    if not is_worker(request.config):
        yield
        return
    everybodys = tmp_path_factory.getbasetemp().parent
    with Path(everybodys, "turn").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if is_alone(request.node) else fcntl.LOCK_SH)
        yield


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what a worker has to say to the process that says it."""
    if is_worker(session.config):
        output = session.config.workeroutput  # type: ignore[attr-defined] # pytest-xdist's
        output["lacking"] = sorted(said_at_the_end.lacking)
        output["measured"] = said_at_the_end.measured


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker had to say; one that crashed says nothing, and is a failure itself."""
    output = getattr(node, "workeroutput", {})
    said_at_the_end.lacking.update(output.get("lacking", ()))
    said_at_the_end.measured.extend(output.get("measured", ()))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name what this machine lacks, and what was measured."""
    if said_at_the_end.lacking:
        terminalreporter.section("not tested in this run")
        for part in sorted(said_at_the_end.lacking):
            terminalreporter.line(part)
    if said_at_the_end.measured:
        terminalreporter.section("measured")
        for line in sorted(said_at_the_end.measured):
            terminalreporter.line(line)
