"""Hypercorn's connection, with write and close timeouts, ended as soon as its client leaves."""

from typing import Any, Final

import h11
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol

from quart_app.web.connections.http2 import BoundedH2Protocol
from quart_app.web.connections.listener import connection_of
from quart_app.web.connections.register import Phase

# A client that accepts no data for this long is not reading. asyncio waits until the client has
# read enough to make room in its buffer (64 KiB), so a slow client has this long for each piece.
_WRITE_SECONDS: Final = 30
_CLOSE_SECONDS: Final = 5


class BoundedTCPServer(TCPServer):
    """One connection of Hypercorn's."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._connection = connection_of(self.writer.transport.get_protocol())
        if self._connection is not None:
            self.context = self._connection.drain.context_for_connections(self.context)
        self._has_ended = self._is_writing = False

    async def run(self) -> None:
        """Serve the connection until it is closed."""
        if self._connection is not None:
            self._connection.waits_for_client = self._waits_for_client
            self._connection.announce_stop = self._announce_stop
        try:
            await super().run()
        finally:
            if self._connection is not None:
                self._connection.release()

    async def protocol_send(self, event: Event) -> None:
        """Send to the client; and note when the connection becomes idle or busy."""
        if isinstance(event, Updated):
            if self._has_ended:  # or Hypercorn would wait for its next request
                return
            if self._connection is not None:
                self._connection.enter(Phase.IDLE if event.idle else Phase.BUSY)
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        # An aborted transport ends the wait by ConnectionResetError, which Hypercorn knows.
        deadline = self.loop.call_later(_WRITE_SECONDS, self._abort)
        self._is_writing = True
        try:
            await super().protocol_send(event)
        finally:
            self._is_writing = False
            deadline.cancel()

    async def _read_data(self) -> None:
        """Read to the end, and then wait no longer for another request.

        Hypercorn leaves the connection's task group only when the idle task ends by itself, after
        `keep_alive_timeout`: `run` in hypercorn/asyncio/tcp_server.py awaits the group's end
        before it closes the socket.
        """
        try:
            await super()._read_data()
        finally:
            self._has_ended = True
        await self.idle_task.stop()

    async def _close(self) -> None:
        """Close the socket, though its client may never take what is left to send."""
        deadline = self.loop.call_later(_CLOSE_SECONDS, self._abort)
        try:
            await super()._close()
        finally:
            deadline.cancel()

    def _announce_stop(self) -> None:
        if self._has_ended:  # its task group may have finished, and begins no other task
            return
        protocol = getattr(self, "protocol", None)  # which `run` makes
        if protocol is not None and isinstance(protocol.protocol, BoundedH2Protocol):
            self._task_group.spawn(protocol.protocol.announce_stop)

    def _abort(self) -> None:
        self.writer.transport.abort()

    def _waits_for_client(self) -> bool:
        """Return whether the rest of a request is missing, or an answer is not being taken."""
        protocol = self.protocol.protocol
        return self._is_writing or (
            isinstance(protocol, H11Protocol) and protocol.connection.their_state is h11.SEND_BODY
        )
