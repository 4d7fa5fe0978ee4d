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
import jsonschema_rs

from tests.servers import Server

PATH = "/api/session_events"


class StreamEvent(NamedTuple):
    """An event, and when it was read by the monotonic clock."""

    kind: str
    data: dict[str, Any]
    at: float
    undescribed: str = ""  # what /openapi.json does not allow


@dataclass
class Listener:
    """A stream reader: `events` receives every event, and `closed` at the end."""

    events: queue.Queue[StreamEvent] = field(default_factory=queue.Queue)

    def next(self) -> StreamEvent:
        event = self.events.get(timeout=10)
        assert not event.undescribed
        return event


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
    description = client.get("/openapi.json").json()
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
                        text, at = line.removeprefix("data: "), time.monotonic()
                        problem = _undescribed(description, {"event": kind, "data": text})
                        listener.events.put(StreamEvent(kind, json.loads(text), at, problem))
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


def _undescribed(description: dict[str, Any], event: dict[str, str]) -> str:
    """Return what the description (OpenAPI) does not allow in an event; empty if it allows all."""
    content = description["paths"][PATH]["get"]["responses"]["200"]["content"]
    schema = content["text/event-stream"]["schema"] | {"components": description["components"]}
    return "; ".join(
        each.message for each in jsonschema_rs.validator_for(schema).iter_errors(event)
    )
