"""A TLS port on loopback in front of a server that speaks plain HTTP, as a reverse proxy has it."""

import asyncio
import socket
from contextlib import suppress

from standins.certificates import ServerCertificate
from standins.loop_thread import LoopThread

LOOPBACK = "127.0.0.1"
_PIECE_BYTES = 65536


class TlsFront:
    """Decrypts each connection and passes its bytes on; it can be down for a while.

    `closes` is for a server that closes each connection after one answer and does not say so: then
    the front says it, as a reverse proxy would. Otherwise clients use a connection that is gone.
    """

    def __init__(
        self,
        upstream_port: int,
        thread: LoopThread,
        certificate: ServerCertificate,
        *,
        hostname: str = "localhost",
        closes: bool = False,
    ) -> None:
        self._closes = closes
        self._upstream_port = upstream_port
        self._thread, self._context = thread, certificate.context()
        self.port = free_port()
        self.named_host = f"{hostname}:{self.port}"
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def host(self) -> str:
        """Where it is, by the name that every machine resolves to loopback; see `named_host`."""
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        """Its origin."""
        return f"https://{self.host}"

    def start(self) -> None:
        """Listen, where it does not already."""
        if self._server is None:
            self._thread.run(self._listen())

    def stop(self) -> None:
        """Refuse connections, and reset those that are open."""
        if self._server is not None:
            self._thread.run(self._reset())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._pass_on, LOOPBACK, self.port, ssl=self._context
        )

    async def _reset(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._connections.values():
            writer.transport.abort()
        await asyncio.gather(*self._connections)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:  # never; for the type checker
            return
        self._connections[task] = writer
        try:
            await self._copy_both_ways(reader, writer)
        except OSError:
            writer.transport.abort()
        finally:
            writer.close()
            del self._connections[task]

    async def _copy_both_ways(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass bytes on until either side ends: HTTP/1.1 has no use for half a connection."""
        from_upstream, to_upstream = await asyncio.open_connection(LOOPBACK, self._upstream_port)
        ways = [_copy(reader, to_upstream), _copy(from_upstream, writer, closes=self._closes)]
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            to_upstream.close()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, closes: bool = False
) -> None:
    with suppress(OSError):
        while piece := await reader.read(_PIECE_BYTES):
            if closes:
                piece, closes = piece.replace(b"\r\n", b"\r\nConnection: close\r\n", 1), False
            writer.write(piece)
            await writer.drain()


def free_port() -> int:
    """Return a port of loopback where nothing listens."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
