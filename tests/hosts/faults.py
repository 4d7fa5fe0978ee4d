"""The faults of a run: a schedule that depends on the seed alone, and how each fault is made."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.hosts.cluster import APPLICATION_PORTS, Cluster, Program
from tests.hosts.history import PROXY, Fault

_DATABASE: Final = "database"
_APPLICATION_FAULTS: Final = ("killed", "cut off", "cut off from database", "slowed", "paused")
_DATABASE_FAULTS: Final = ("restarted fast", "restarted immediately", "cut off", "paused", "slowed")


@dataclass(frozen=True)
class Planned:
    """A fault of a host, and when it begins and ends, in seconds since the run began."""

    host: str
    fault: str
    begins: float
    ends: float

    def __str__(self) -> str:
        return f"{self.begins:5.1f} to {self.ends:4.1f} s: {self.host} {self.fault}"


def schedule(seed: int, seconds: float) -> list[Planned]:
    """Return the faults of a run. Each host has one at a time; several hosts may have one each."""
    random = Random(seed)  # noqa: S311 repeatable, not secret
    application_faults = _shuffled(random, _APPLICATION_FAULTS)
    database_faults = _shuffled(random, _DATABASE_FAULTS)
    planned: list[Planned] = []
    free_at = {name: random.uniform(0.5, 4) for name in (*APPLICATION_PORTS, _DATABASE)}
    while (begins := min(free_at.values())) < seconds - 1:
        host = min(free_at, key=lambda name: free_at[name])
        faults = database_faults if host == _DATABASE else application_faults
        ends = min(begins + random.uniform(0.5, 5), seconds)
        planned.append(Planned(host, next(faults), begins, ends))
        free_at[host] = ends + random.uniform(3, 8)
    return planned


def _shuffled(random: Random, faults: tuple[str, ...]) -> Iterator[str]:
    """Yield all faults in some order, then all again."""
    while True:
        yield from random.sample(faults, len(faults))


async def make_faults(cluster: Cluster, planned: list[Planned]) -> list[Fault]:
    """Make each fault and put it right, at its time. Return when each really began and ended."""
    start = time.monotonic()
    return await asyncio.gather(*(_make(cluster, each, start) for each in planned))


async def _make(cluster: Cluster, planned: Planned, start: float) -> Fault:
    is_database = planned.host == _DATABASE
    program = cluster.database if is_database else cluster.applications[planned.host]
    begin, end = _steps(cluster, program, planned.fault)
    await asyncio.sleep(start + planned.begins - time.monotonic())
    began = time.monotonic()
    try:
        await asyncio.to_thread(begin)
        await asyncio.sleep(start + planned.ends - time.monotonic())
    finally:
        await asyncio.to_thread(end)
    affected = (*APPLICATION_PORTS, PROXY) if is_database else (planned.host, PROXY)
    return Fault(planned.fault, frozenset(affected), began, time.monotonic())


def _steps(
    cluster: Cluster, program: Program, fault: str
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return how a fault is made, and how it is put right."""
    host, database = program.host, cluster.database.host
    return {
        "killed": (lambda: program.end(signal.SIGKILL), program.start),
        "restarted fast": (lambda: program.end(signal.SIGINT), program.start),
        "restarted immediately": (lambda: program.end(signal.SIGQUIT), program.start),
        "paused": (lambda: host.send(signal.SIGSTOP), lambda: host.send(signal.SIGCONT)),
        "slowed": (host.slow_down, host.speed_up),
        "cut off": (host.cut_off, host.reconnect),
        "cut off from database": (
            lambda: database.stop_answering(host),
            lambda: database.answer(host),
        ),
    }[fault]
