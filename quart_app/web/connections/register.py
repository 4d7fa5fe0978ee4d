"""The open connections, their bounds, and the order of closing when a bound is reached."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from quart_app.web.connections.draining import Drain

_log = logging.getLogger("quart_app.connections")


class Phase(Enum):
    """The state of a connection."""

    SILENT = auto()  # has not sent a whole request yet
    IDLE = auto()  # has been answered, and may send another request
    BUSY = auto()  # has sent a request that is not answered yet
    CLOSING = auto()  # is being closed; its descriptor is still open


@dataclass(frozen=True)
class Bounds:
    """How many connections may be open: in all, and from one address (None: any number)."""

    total: int
    per_address: int | None


class Connection:
    """A connection that was accepted, and is open until it is released."""

    def __init__(self, register: "Register", sock: socket.socket, address: str | None) -> None:
        self.sock, self.address, self.phase = sock, address, Phase.SILENT
        # Tells whether a busy connection waits for its client. BoundedTCPServer replaces it.
        self.waits_for_client: Callable[[], bool] = lambda: False
        self.close: Callable[[], None] = self.shut_down
        # Tells the client that the server stops, if that needs no answer to carry it.
        self.announce_stop: Callable[[], None] = lambda: None
        self._register = register

    @property
    def drain(self) -> Drain:
        """The stop of the server that has accepted it."""
        return self._register.drain

    def enter(self, phase: Phase) -> None:
        """Note what the connection is doing now, unless it is to close."""
        if self.phase is not Phase.CLOSING:
            self._register.move(self, phase)

    def shut_down(self) -> None:
        """End both directions, so that the reader of the socket sees its end and closes it."""
        with suppress(OSError):  # the client was faster
            self.sock.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Note that the descriptor is closed, or about to be."""
        self._register.remove(self)


class _Group:
    """Connections by phase; within a phase, the longest there comes first."""

    def __init__(self) -> None:
        self._by_phase: dict[Phase, dict[Connection, None]] = {phase: {} for phase in Phase}

    def __len__(self) -> int:
        return sum(map(len, self._by_phase.values()))

    def __iter__(self) -> Iterator[Connection]:
        return iter([each for connections in self._by_phase.values() for each in connections])

    def count(self, phase: Phase) -> int:
        return len(self._by_phase[phase])

    def add(self, connection: Connection, phase: Phase) -> None:
        self._by_phase[phase][connection] = None

    def discard(self, connection: Connection, phase: Phase) -> None:
        self._by_phase[phase].pop(connection, None)

    def first_to_close(self) -> Connection | None:
        """Return the connection whose end does the least harm; None if all are being served."""
        for phase in (Phase.SILENT, Phase.IDLE):
            if self._by_phase[phase]:
                return next(iter(self._by_phase[phase]))
        busy = self._by_phase[Phase.BUSY]
        return next((connection for connection in busy if connection.waits_for_client()), None)


class Register:
    """Every open connection of this process."""

    _MOST_CLOSING: Final = 128  # fewer than the descriptors that are reserved

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._all = _Group()
        self._by_address: dict[str, _Group] = {}
        self.closed_early = self.refused = 0
        self.drain = Drain()
        self.drain.subscribe(self._announce_stop)

    def has_room(self) -> bool:
        """Return whether the next connection may be accepted now, or else in a moment."""
        return self._all.count(Phase.CLOSING) < self._MOST_CLOSING

    def admit(self, sock: socket.socket, address: str | None) -> Connection | None:
        """Register an accepted connection, and close another if a bound is reached.

        Returns None if no other connection can be closed; then the caller closes this one.
        `address` is None for a peer without one (a Unix socket).
        """
        most = self.bounds.per_address
        own = self._by_address.get(address) if address is not None else None
        if own is not None and most is not None and len(own) - own.count(Phase.CLOSING) >= most:
            has_room = self._close_first_of(own)
        elif len(self._all) - self._all.count(Phase.CLOSING) >= self.bounds.total:
            has_room = self._close_first_of(self._all)
        else:
            has_room = True
        if not has_room:
            self.refused += 1
            return None
        connection = Connection(self, sock, address)
        for group in self._groups_of(connection):
            group.add(connection, connection.phase)
        return connection

    def _announce_stop(self) -> None:
        for connection in self._all:
            connection.announce_stop()

    def close_some(self, most: int) -> bool:
        """Close connections because the process has no descriptor left; tell whether any was."""
        return sum(self._close_first_of(self._all) for _ in range(most)) > 0

    def move(self, connection: Connection, phase: Phase) -> None:
        """Note what a connection is doing now."""
        for group in self._groups_of(connection):
            group.discard(connection, connection.phase)
            group.add(connection, phase)
        connection.phase = phase

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        for group in self._groups_of(connection):
            group.discard(connection, connection.phase)
        if connection.address is not None and not self._by_address.get(connection.address):
            self._by_address.pop(connection.address, None)

    def _close_first_of(self, group: _Group) -> bool:
        first = group.first_to_close()
        if first is None:
            return False
        self.move(first, Phase.CLOSING)
        self.closed_early += 1
        first.close()
        return True

    def _groups_of(self, connection: Connection) -> tuple[_Group, ...]:
        if connection.address is None:
            return (self._all,)
        return self._all, self._by_address.setdefault(connection.address, _Group())

    def report(self) -> None:
        """Write one line about the connections closed and refused since the last one, if any."""
        if self.closed_early or self.refused:
            _log.warning(
                "Too many connections: %d are open, %d waiting ones were closed and %d refused.",
                *(len(self._all), self.closed_early, self.refused),
            )
        self.closed_early = self.refused = 0
