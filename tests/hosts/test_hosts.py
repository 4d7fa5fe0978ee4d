"""Hosts fail while clients use them, and clients lose nothing that was acknowledged.

`--hosts-seed N` repeats the faults and the clients' choices of one run. It can't repeat which
request meets which fault, since that depends on the machine.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from secrets import randbelow
from typing import Final

import pytest

from tests.hosts.checker import Limits, violations
from tests.hosts.cluster import REFUSE_AFTER, Cluster, cluster
from tests.hosts.faults import Planned, schedule
from tests.hosts.history import Action, History
from tests.hosts.network import run_on
from tests.hosts.visit import make_users, read_stored, visit
from tests.processes import ENDED_WITHIN_SECONDS
from tests.servers import APP

pytestmark = [pytest.mark.alone, pytest.mark.xdist_group("hosts")]

BUSY_MACHINE_SECONDS: Final = 0.5  # slack: eight browsers and all hosts share its cores
LIMITS: Final = Limits(
    calm_seconds=ENDED_WITHIN_SECONDS + BUSY_MACHINE_SECONDS,
    stale_seconds=REFUSE_AFTER.total_seconds(),
    settling_seconds=6,  # a connection that was cut is given up after 5 s (tcp_user_timeout)
    recovery_seconds=30,  # locks of a host that vanished are held for up to 15 s
)
CALM_SECONDS: Final = 2  # at the end of a run, after all hosts have settled


@pytest.fixture(scope="module")
def hosts(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    with cluster(pytestconfig, tmp_path_factory.mktemp("hosts")) as running:
        yield running


def run(
    hosts: Cluster, planned: list[Planned], *, seed: int, calm_seconds: float, app: str = APP
) -> History:
    """Let clients use an application during these faults and afterwards."""
    hosts.replace_applications(app)
    users = asyncio.run(make_users(hosts.stored))
    visiting = visit(
        hosts,
        users,
        planned,
        seed=seed,
        calm_seconds=calm_seconds,
        recovery_seconds=LIMITS.recovery_seconds,
    )
    history = run_on(hosts.clients, visiting)
    history.stored = read_stored(hosts.stored)
    return history


def summary(history: History, seed: int) -> str:
    answers = Counter(
        "acknowledged" if call.is_acknowledged else "refused" if call.is_refused else "unknown"
        for call in history.calls
    )
    recovered = max((at - history.healed for at in history.recovered.values()), default=inf)
    return (
        f"hosts that fail, seed {seed}: {len(history.faults)} faults, {len(history.calls)} calls"
        f" ({answers['acknowledged']} acknowledged, {answers['refused']} refused,"
        f" {answers['unknown']} unknown), recovered after {recovered:.1f} s"
    )


CheckRun = Callable[[int, float], None]


@pytest.fixture
def check_run(hosts: Cluster, tmp_path: Path, measured: Callable[[str], None]) -> CheckRun:
    """Make the faults of a seed for some seconds, and check what clients saw."""

    def check(seed: int, seconds: float) -> None:
        planned = schedule(seed, seconds)
        history = run(
            hosts, planned, seed=seed, calm_seconds=LIMITS.settling_seconds + CALM_SECONDS
        )
        measured(summary(history, seed))
        assert {Action.LOGIN, Action.READ} <= {
            call.action for call in history.calls if call.is_acknowledged
        }
        found = violations(history, LIMITS)
        if not found:
            return
        file = tmp_path / "history.txt"
        file.write_text("\n".join(map(str, (*history.faults, *history.calls))))
        pytest.fail(
            "\n".join(
                [
                    f"Repeat with: scripts/test --hosts-seed {seed} tests/hosts/test_hosts.py",
                    f"All calls are in {file}",
                    *found,
                    *map(str, planned),
                    hosts.logs(),
                ]
            )
        )

    return check


def test_nothing_acknowledged_is_lost_while_hosts_fail(
    check_run: CheckRun, pytestconfig: pytest.Config
) -> None:
    seed = pytestconfig.getoption("hosts_seed")
    if seed is None:
        check_run(1, 8)
    else:
        check_run(seed, 60)


@pytest.mark.thorough
@pytest.mark.parametrize("_number", range(4))
def test_nothing_acknowledged_is_lost_in_a_minute(_number: int, check_run: CheckRun) -> None:
    check_run(randbelow(10**6), 60)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("app", "violation"),
    [
        ("with_late_revocations", "ended session accepted"),
        ("with_lost_updates", "not stored"),
        ("with_mixed_up_answers", "answer for user"),
    ],
)
def test_a_broken_build_is_noticed(app: str, violation: str, hosts: Cluster) -> None:
    history = run(hosts, [], seed=1, calm_seconds=3, app=f"tests.hosts.broken:{app}()")
    found = violations(history, LIMITS)
    assert any(violation in sentence for sentence in found), found
