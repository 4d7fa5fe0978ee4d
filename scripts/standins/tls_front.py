"""A TLS port on loopback in front of a server that speaks plain HTTP, as a reverse proxy has it."""

import asyncio
from contextlib import suppress

from standins.certificates import ServerCertificate
from standins.listener import LOOPBACK, Listener
from standins.loop_thread import LoopThread

_PIECE_BYTES = 65536


class TlsFront(Listener):
    """Decrypts each connection and passes its bytes on.

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
        super().__init__(thread, certificate.context(), hostname=hostname)
        self._upstream_port, self._closes = upstream_port, closes

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
