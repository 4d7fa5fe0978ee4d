"""The accept loop: bounded, and calm when the process has no descriptors left.

asyncio's own loop keeps accepting after EMFILE, up to the backlog's number, and logs a traceback
each time (`_accept_connection` in asyncio/selector_events.py). A connection that stays silent costs
a descriptor here and nothing else: Hypercorn gets it with its first byte.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

from quart_app.services.audit.addresses import counted_address
from quart_app.web.connections.register import Connection, Register

_log = logging.getLogger("quart_app.connections")
_PER_ROUND: Final = 64  # then others have their turn in the event loop
_HANDED_OVER_PER_ROUND: Final = 4
_PAUSE_SECONDS: Final = 0.01
_OUT_OF_DESCRIPTORS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_LONG_PAUSE_SECONDS: Final = 0.1  # where no connection waits for its client
_SILENCE_SECONDS: Final = 75  # as long as `keep_alive_timeout` in hypercorn.toml
_REPORT_SECONDS: Final = 1.0
_HAND_OVER_SECONDS: Final = 1.0

_connections: WeakKeyDictionary[asyncio.BaseProtocol, Connection] = WeakKeyDictionary()


def connection_of(protocol: asyncio.BaseProtocol) -> Connection | None:
    """Return the registered connection of this protocol; None for another server's."""
    return _connections.get(protocol)


@asynccontextmanager
async def accepting_within_bounds(register: Register) -> AsyncIterator[None]:
    """Make the servers that the running event loop starts in this block use our accept loop.

    Hypercorn starts its servers while the application's lifespan lasts, by `create_server`.
    """
    loop = asyncio.get_running_loop()
    original = loop.create_server

    async def create_server(
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        *,
        sock: socket.socket | None = None,
        backlog: int = 100,
        ssl: ssl.SSLContext | None = None,
        ssl_handshake_timeout: float | None = None,
        **more: Any,
    ) -> Any:
        tls = {"ssl": ssl, "ssl_handshake_timeout": ssl_handshake_timeout} if ssl else {}
        if sock is None or more:  # not Hypercorn's
            options = {"sock": sock, "backlog": backlog, **tls, **more}
            return await original(protocol_factory, host, port, **options)
        listener = Listener(loop, register, sock, protocol_factory, tls)
        listener.start(backlog)
        register.drain.subscribe(listener.stop_accepting)
        return listener

    loop.create_server = create_server  # type: ignore[method-assign,assignment]
    reports = asyncio.create_task(_report_every_second(register))
    try:
        yield
    finally:
        reports.cancel()
        loop.create_server = original  # type: ignore[method-assign]


async def _report_every_second(register: Register) -> None:
    while True:
        await asyncio.sleep(_REPORT_SECONDS)
        register.report()


class Listener:
    """A listening socket and its accepted connections, with the two methods of asyncio's Server."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        register: Register,
        sock: socket.socket,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        tls: dict[str, Any],
    ) -> None:
        """`tls` holds what `connect_accepted_socket` needs for TLS; empty without."""
        self._loop, self._register, self._sock = loop, register, sock
        self._protocol_factory, self._tls = protocol_factory, tls
        self._silent: dict[Connection, asyncio.TimerHandle] = {}
        self._ready: dict[str | None, deque[Connection]] = {}  # by address; they sent a byte
        self._handing_over: set[asyncio.Task[None]] = set()
        self._resuming: asyncio.TimerHandle | None = None

    def start(self, backlog: int) -> None:
        """Begin to listen."""
        self._backlog = backlog
        self._sock.setblocking(False)
        self._sock.listen(backlog)
        self._loop.add_reader(self._sock.fileno(), self._accept_round)

    def close(self) -> None:
        """Begin the drain: Hypercorn stops."""
        self._register.drain.begin()

    def stop_accepting(self) -> None:
        """Take the connections that wait to be accepted, and stop listening.

        Without another process that listens on this socket, the system would reset them.
        """
        if self._resuming is not None:
            self._resuming.cancel()
        self._loop.remove_reader(self._sock.fileno())
        for _ in range(self._backlog):
            try:
                self._admit(*self._sock.accept())
            except OSError:  # no more connections wait, or there is no descriptor left
                break
        self._sock.close()

    async def wait_closed(self) -> None:
        """Wait for the requests of connections that have sent nothing, until the drain is over.

        Hypercorn finishes those connections only that it has when this returns.
        """
        while self._silent and not self._register.drain.is_over.is_set():  # noqa: ASYNC110 either
            await asyncio.sleep(_PAUSE_SECONDS)
        for connection in list(self._silent):
            self._close_silent(connection)
        if self._handing_over:
            await asyncio.wait(self._handing_over, timeout=_HAND_OVER_SECONDS)
        await asyncio.sleep(0)

    def _accept_round(self) -> None:
        for _ in range(_PER_ROUND):
            if not self._register.has_room():
                self._pause(_PAUSE_SECONDS)
                return
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _OUT_OF_DESCRIPTORS:
                    has_closed = self._register.close_some(_PER_ROUND)
                    self._pause(_PAUSE_SECONDS if has_closed else _LONG_PAUSE_SECONDS)
                    return
                continue  # that connection has ended already, such as with ECONNABORTED
            self._admit(sock, address)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._resuming = self._loop.call_later(
            seconds, self._loop.add_reader, self._sock.fileno(), self._accept_round
        )

    def _admit(self, sock: socket.socket, address: Any) -> None:
        sock.setblocking(False)
        is_internet = isinstance(address, tuple)
        counted = counted_address(address[0]) if is_internet else None
        connection = self._register.admit(sock, counted)
        if connection is None:
            sock.close()
            return
        connection.close = lambda: self._close_silent(connection)
        self._silent[connection] = self._loop.call_later(_SILENCE_SECONDS, connection.close)
        self._loop.add_reader(sock.fileno(), self._first_byte, connection)

    def _close_silent(self, connection: Connection) -> None:
        self._no_longer_silent(connection)
        connection.sock.close()
        connection.release()

    def _no_longer_silent(self, connection: Connection) -> None:
        self._silent.pop(connection).cancel()
        self._loop.remove_reader(connection.sock.fileno())

    def _first_byte(self, connection: Connection) -> None:
        try:
            is_at_its_end = connection.sock.recv(1, socket.MSG_PEEK) == b""
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            is_at_its_end = True
        if is_at_its_end:
            self._close_silent(connection)
            return
        self._loop.remove_reader(connection.sock.fileno())
        if not self._ready:
            self._loop.call_soon(self._hand_over_round)
        self._ready.setdefault(connection.address, deque()).append(connection)

    def _hand_over_round(self) -> None:
        """Hand over a few connections, from each address in turn.

        Hypercorn takes a millisecond to set one up. A thousand from one address must not delay
        those from others.
        """
        for _ in range(min(_HANDED_OVER_PER_ROUND, len(self._ready))):
            address, waiting = next(iter(self._ready.items()))
            del self._ready[address]
            connection = waiting.popleft()
            if waiting:
                self._ready[address] = waiting  # as the last one
            if connection in self._silent:  # it was not closed meanwhile
                self._no_longer_silent(connection)
                connection.close = connection.shut_down
                task = self._loop.create_task(self._hand_over(connection))
                self._handing_over.add(task)
                task.add_done_callback(self._handing_over.discard)
        if self._ready:
            self._loop.call_soon(self._hand_over_round)

    async def _hand_over(self, connection: Connection) -> None:
        def protocol() -> asyncio.BaseProtocol:
            made = self._protocol_factory()
            _connections[made] = connection
            return made

        try:
            await self._loop.connect_accepted_socket(protocol, connection.sock, **self._tls)
        except OSError:  # a TLS handshake that failed, or took too long
            connection.sock.close()
            connection.release()
