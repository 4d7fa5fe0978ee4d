"""The choice of the connection to close when a limit is reached."""

import socket
from collections.abc import Iterator

import pytest

from quart_app.web.connections.descriptors import connections_within
from quart_app.web.connections.register import Bounds, Connection, Phase, Register


@pytest.fixture
def register() -> Register:
    return Register(Bounds(total=4, per_address=2))


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as made:
        yield made


def admitted(register: Register, sock: socket.socket, address: str, phase: Phase) -> Connection:
    connection = register.admit(sock, address)
    assert connection is not None
    connection.enter(phase)
    return connection


def test_silent_connections_are_closed_first_and_idle_ones_next(
    register: Register, sock: socket.socket
) -> None:
    busy = admitted(register, sock, "a", Phase.BUSY)
    idle = admitted(register, sock, "b", Phase.IDLE)
    older = admitted(register, sock, "c", Phase.SILENT)
    younger = admitted(register, sock, "d", Phase.SILENT)
    closed = []
    for number, first in enumerate([older, younger, idle]):
        admitted(register, sock, f"e{number}", Phase.BUSY)
        assert first.phase is Phase.CLOSING
        first.release()
        closed.append(first)
    assert busy.phase is Phase.BUSY
    assert register.admit(sock, "f") is None  # all are being served
    assert (register.closed_early, register.refused) == (3, 1)


def test_a_connection_waiting_for_its_client_is_closed_before_any_is_refused(
    register: Register, sock: socket.socket
) -> None:
    served = admitted(register, sock, "a", Phase.BUSY)
    stalled = admitted(register, sock, "a", Phase.BUSY)
    stalled.waits_for_client = lambda: True
    assert register.admit(sock, "a") is not None
    assert (served.phase, stalled.phase) == (Phase.BUSY, Phase.CLOSING)


def test_an_address_at_its_limit_closes_its_own_connections(
    register: Register, sock: socket.socket
) -> None:
    other = admitted(register, sock, "a", Phase.SILENT)
    own = [admitted(register, sock, "b", Phase.SILENT) for _ in range(2)]
    admitted(register, sock, "b", Phase.SILENT)
    assert other.phase is Phase.SILENT
    assert [each.phase for each in own] == [Phase.CLOSING, Phase.SILENT]


def test_one_address_may_use_all_connections_without_a_limit_per_address(
    sock: socket.socket,
) -> None:
    register = Register(Bounds(total=3, per_address=None))
    for _ in range(3):
        admitted(register, sock, "proxy", Phase.BUSY)
    assert register.admit(sock, "proxy") is None
    assert register.admit(sock, None) is None  # a Unix socket


def test_released_connections_free_their_places(register: Register, sock: socket.socket) -> None:
    for number in range(1000):
        admitted(register, sock, f"{number}", Phase.BUSY).release()
    assert register.closed_early == register.refused == 0
    assert not register._by_address


def test_a_closing_connection_does_not_become_idle_again(
    register: Register, sock: socket.socket
) -> None:
    first = admitted(register, sock, "a", Phase.SILENT)
    for _ in range(2):
        admitted(register, sock, "a", Phase.BUSY)
    first.enter(Phase.IDLE)
    assert first.phase is Phase.CLOSING


@pytest.mark.parametrize("descriptors", [64, 256, 1024, 4096, 20_000, 2**20])
def test_file_descriptors_are_reserved_for_other_uses(descriptors: int) -> None:
    connections = connections_within(descriptors)
    assert descriptors // 2 <= connections or connections == 8192
    assert descriptors - connections >= min(384, descriptors // 2)
