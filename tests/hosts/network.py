"""Hosts on one network: a Linux network namespace for each, and a bridge in another one.

Nothing of it is reachable from outside, and no address of the machine itself is used. Names contain
the process id, so that the next run finds and removes what a killed run has left.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from tests.conftest import lacking
from tests.forking import popen
from tests.listening import program_of
from tests.network_namespaces import NETWORK_NAMESPACES, enter_network_namespace

NETWORK: Final = "10.77.0.0/24"
_PREFIX: Final = "quart_app"
_SLOW: Final = ("rate", "64kbit", "burst", "2kb", "latency", "1s")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Host:
    """A host of the network; `port` is its place on the bridge."""

    port: str
    address: str

    @property
    def namespace(self) -> str:
        return _namespace(self.port)

    def start(self, command: list[str], log: Path, **options: Any) -> "subprocess.Popen[Any]":
        """Start a program on this host; its output is added to `log`."""
        with log.open("ab") as stream:
            streams: dict[str, Any] = {"stdout": stream, "stderr": subprocess.STDOUT}
            if command[0] == sys.executable:  # forked, because it imports the application
                return popen(command, network_namespace=self.namespace, **streams, **options)
            inside = ["ip", "netns", "exec", self.namespace, *command]
            return subprocess.Popen(inside, **streams, **options)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to every process of this host."""
        _send(self.namespace, number)

    def cut_off(self) -> None:
        """Lose every packet from and to this host, without a word to either side."""
        _ip("-n", _BRIDGE, "link", "set", self.port, "down")

    def reconnect(self) -> None:
        _ip("-n", _BRIDGE, "link", "set", self.port, "up")

    def stop_answering(self, other: "Host") -> None:
        """Lose every packet from this host to one other host."""
        _ip("-n", self.namespace, "route", "add", "blackhole", other.address)

    def answer(self, other: "Host") -> None:
        _ip("-n", self.namespace, "route", "delete", "blackhole", other.address)

    def slow_down(self) -> None:
        """Delay and lose packets from and to this host, as on a bad line.

        By a limited rate with a short queue (tc-tbf), since not every kernel has tc-netem.
        """
        for namespace, device in self._ends():
            command = ("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf", *_SLOW)
            subprocess.run(command, check=True)

    def speed_up(self) -> None:
        for namespace, device in self._ends():
            subprocess.run(
                ("tc", "-n", namespace, "qdisc", "del", "dev", device, "root"), check=True
            )

    def _ends(self) -> tuple[tuple[str, str], tuple[str, str]]:
        return (self.namespace, "eth0"), (_BRIDGE, self.port)


def _namespace(port: str) -> str:
    return f"{_PREFIX}-{os.getpid()}-{port}"


_BRIDGE: Final = _namespace("bridge")


@contextmanager
def network(config: pytest.Config, ports: Sequence[str]) -> Iterator[list[Host]]:
    """Yield hosts of these names. Their programs are killed when the block ends."""
    for program in ("ip", "tc"):
        program_of(config, program, f"{program} (Debian's package iproute2)")
    if os.geteuid() == 0:
        _remove_leftovers()
    made = subprocess.run(["ip", "netns", "add", _BRIDGE], check=False, capture_output=True)
    if made.returncode != 0:
        lacking(config, "the right to create network namespaces (ip netns, as root)")
    hosts = [Host(port, f"10.77.0.{number}") for number, port in enumerate(ports, 10)]
    try:
        _ip("-n", _BRIDGE, "link", "add", "bridge", "up", "type", "bridge")
        for host in hosts:
            _connect(host)
        yield hosts
    finally:
        for namespace in (_BRIDGE, *(host.namespace for host in hosts)):
            _remove(namespace)


def _connect(host: Host) -> None:
    _ip("netns", "add", host.namespace)
    own = ("-n", host.namespace)
    _ip(*own, "link", "add", "eth0", "type", "veth", "peer", "name", host.port, "netns", _BRIDGE)
    _ip("-n", _BRIDGE, "link", "set", host.port, "master", "bridge", "up")
    _ip(*own, "address", "add", f"{host.address}/24", "dev", "eth0")
    _ip(*own, "link", "set", "lo", "up")
    _ip(*own, "link", "set", "eth0", "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _remove_leftovers() -> None:
    """Remove the namespaces of processes that no longer exist, or had this process's id."""
    for path in NETWORK_NAMESPACES.glob(f"{_PREFIX}-*"):
        found = re.fullmatch(rf"{_PREFIX}-(\d+)-\w+", path.name)
        has_ended = found is not None and not Path("/proc", found[1]).exists()
        if has_ended or path.name.startswith(_namespace("")):
            _remove(path.name)


def _remove(namespace: str) -> None:
    """Kill every process in a namespace, and remove it; nothing happens if there is none."""
    if not (NETWORK_NAMESPACES / namespace).exists():
        return
    _send(namespace, signal.SIGKILL)
    _ip("netns", "delete", namespace)


def _send(namespace: str, number: signal.Signals) -> None:
    listed = subprocess.run(["ip", "netns", "pids", namespace], check=True, capture_output=True)
    for process_id in listed.stdout.split():
        with suppress(ProcessLookupError):
            os.kill(int(process_id), number)


def run_on(host: Host, coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in a thread whose sockets are this host's, and return its result."""
    with ThreadPoolExecutor(
        1, initializer=enter_network_namespace, initargs=(host.namespace,)
    ) as thread:
        return thread.submit(asyncio.run, coroutine).result()
