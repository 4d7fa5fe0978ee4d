"""Readers of a real process's event stream, and the events that they receive."""

import json
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx2

from tests.servers import Server

PATH = "/api/session_events"


class StreamEvent(NamedTuple):
    """An event, and when it was read by the monotonic clock."""

    kind: str
    data: dict[str, Any]
    at: float


@dataclass
class Listener:
    """A stream reader: `events` receives every event, and `closed` at the end."""

    events: queue.Queue[StreamEvent] = field(default_factory=queue.Queue)

    def next(self) -> StreamEvent:
        return self.events.get(timeout=10)


@contextmanager
def listening(server: Server, cookie: str) -> Iterator[Listener]:
    """Read the session's stream in a thread until the block ends."""
    headers = {"Cookie": f"session={cookie}"}
    with (
        httpx2.Client(base_url=server.url, headers=headers, timeout=60) as client,
        listening_by(client) as listener,
    ):
        yield listener


@contextmanager
def listening_by(client: httpx2.Client) -> Iterator[Listener]:
    """Read a session's stream as `listening` does, by a client that has the cookie."""
    listener = Listener()
    with client.stream("GET", PATH) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        lines = response.iter_lines()
        assert next(lines) == ":"  # sent at once, so that the stream is known to be open

        def read() -> None:
            kind = ""
            try:
                for line in lines:
                    if line.startswith("event: "):
                        kind = line.removeprefix("event: ")
                    elif line.startswith("data: "):
                        data = json.loads(line.removeprefix("data: "))
                        listener.events.put(StreamEvent(kind, data, time.monotonic()))
            except httpx2.TransportError:
                pass  # the block has ended
            listener.events.put(StreamEvent("closed", {}, time.monotonic()))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            yield listener
        finally:  # if only closed, it would stay open for as long as the thread reads
            connection = response.extensions["network_stream"].get_extra_info("socket")
            with suppress(OSError):  # the server was faster
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(10)
