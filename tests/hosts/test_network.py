"""The network of tests: hosts reach each other, faults show, and nothing stays behind."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hosts.network import Host, network, run_on
from tests.network_namespaces import NETWORK_NAMESPACES

pytestmark = pytest.mark.xdist_group("hosts")
_PORT = 8000
_BYTES = 20_000
_SERVER = f"""
import socket
with socket.create_server(("", {_PORT})) as server:
    while True:
        connection, _ = server.accept()
        connection.sendall(b"x" * {_BYTES})
        connection.close()
"""


@pytest.fixture
def pair(pytestconfig: pytest.Config, tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts; the second sends some bytes on each connection."""
    with network(pytestconfig, ("client", "server")) as (client, server):
        serving = server.start(["python3", "-c", _SERVER], tmp_path / "log")
        while seconds_to_read(client, server) is None:
            time.sleep(0.05)
        yield client, server
        serving.kill()
        serving.wait()


def seconds_to_read(client: Host, server: Host) -> float | None:
    """Return how long it takes to read everything; None after a second."""

    async def read() -> float:
        since = time.monotonic()
        reader, writer = await asyncio.open_connection(server.address, _PORT)
        try:
            assert len(await reader.read()) == _BYTES
        finally:
            writer.close()
        return time.monotonic() - since

    async def read_in_time() -> float | None:
        with suppress(OSError):  # a timeout, too
            return await asyncio.wait_for(read(), 1)
        return None

    return run_on(client, read_in_time())


def test_a_host_that_is_cut_off_is_reached_again_afterwards(pair: tuple[Host, Host]) -> None:
    client, server = pair
    server.cut_off()
    assert seconds_to_read(client, server) is None
    server.reconnect()
    assert seconds_to_read(client, server) is not None
    server.stop_answering(client)
    assert seconds_to_read(client, server) is None
    server.answer(client)
    assert seconds_to_read(client, server) is not None


def test_a_slow_host_takes_more_than_a_second(pair: tuple[Host, Host]) -> None:
    client, server = pair
    assert seconds_to_read(client, server) is not None
    server.slow_down()
    assert seconds_to_read(client, server) is None
    server.speed_up()
    assert seconds_to_read(client, server) is not None


def test_programs_of_a_killed_run_are_killed_and_its_hosts_removed(
    pytestconfig: pytest.Config,
) -> None:
    with network(pytestconfig, ()):  # skips where this machine lacks something
        pass
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = f"quart_app-{ended.pid}-app1"
    subprocess.run(["ip", "netns", "add", left], check=True)
    program = subprocess.Popen(["ip", "netns", "exec", left, "sleep", "100"])
    time.sleep(0.2)  # until it is in the namespace
    with network(pytestconfig, ("one",)) as (one,):
        assert program.wait(5) != 0
        assert not (NETWORK_NAMESPACES / left).exists()
        assert (NETWORK_NAMESPACES / one.namespace).exists()
    assert not list(NETWORK_NAMESPACES.glob(f"quart_app-{os.getpid()}-*"))
