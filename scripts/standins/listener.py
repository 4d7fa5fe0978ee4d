"""A port on loopback that can be down for a while."""

import asyncio
import socket
import ssl
from abc import ABC, abstractmethod

from standins.loop_thread import LoopThread

LOOPBACK = "127.0.0.1"


class Listener(ABC):
    """Listens, with TLS where there is a context for it, and answers each connection."""

    def __init__(
        self, thread: LoopThread, context: ssl.SSLContext | None, *, hostname: str = "localhost"
    ) -> None:
        self._thread, self._context = thread, context
        self._reserved = ReservedPort()
        self.port = self._reserved.number
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

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._reserved.release()

    @abstractmethod
    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection. An OSError resets it."""

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._answer, LOOPBACK, self.port, ssl=self._context
        )

    async def _reset(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task, writer in self._connections.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task that is cancelled is logged by asyncio's callback, so it is one of our own.
        task = asyncio.ensure_future(self.answer(reader, writer))
        self._connections[task] = writer
        try:
            await asyncio.wait([task])
            if task.cancelled() or isinstance(task.exception(), OSError):
                writer.transport.abort()
            else:
                task.result()
        finally:
            writer.close()
            del self._connections[task]


class ReservedPort:
    """A port of loopback that nobody else is given, whether something listens there or not.

    Its socket is bound and never listens: connections are refused, but a server that sets
    SO_REUSEADDR, as they all do, can listen there.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((LOOPBACK, 0))
        self.number: int = self._socket.getsockname()[1]

    def release(self) -> None:
        """Let others have it."""
        self._socket.close()
