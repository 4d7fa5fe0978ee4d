"""The accept loop at the moment when the server stops."""

import asyncio
import socket
from typing import cast

import pytest
import uvloop

from quart_app.web.connections.listener import accepting_within_bounds
from quart_app.web.connections.register import Bounds, Register


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)
        self._transport.close()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_that_waits_to_be_accepted_when_the_server_stops_is_served(
    new_loop: type[asyncio.AbstractEventLoop],
) -> None:
    """Nobody else listens on the socket, so the system would reset it."""

    async def serve() -> bytes:
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        register = Register(Bounds(total=10, per_address=None))
        async with accepting_within_bounds(register):
            server = await loop.create_server(_Echo, sock=listener)
            with socket.create_connection(listener.getsockname(), timeout=10) as client:
                client.sendall(b"a")
                server.close()  # before the event loop has seen the connection
                await server.wait_closed()
                return await asyncio.to_thread(client.recv, 1)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(serve()) == b"a"
