"""HTTP/1.1 as h11 reads it, with bounds on heads and chunks, and without upgrades."""

import re
from dataclasses import replace
from typing import Any, Final, NoReturn

import h11
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import EndBody, Response
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H2ProtocolAssumedError, H11Protocol
from hypercorn.typing import H11SendableEvent

from quart_app.web.connections.draining import is_draining
from quart_app.web.connections.heads import MOST_FIELDS, PIECE_BYTES
from quart_app.web.connections.refusals import headers_of_refusal, with_headers_of_refusal

_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")  # as h11, which takes a bare LF for a line end
# A body has 64 KiB at most. In chunks of one byte, the chunks would cost more than all the rest.
_MOST_CHUNKS: Final = 256
_LONGEST_LINE_IN_BODY_BYTES: Final = 1024
_CLOSE: Final = (b"connection", b"close")


class BoundedH11Connection(h11.Connection):
    """A connection that refuses a request before its parsing costs much."""

    def __init__(self, largest_head_bytes: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=largest_head_bytes)
        self._largest_head_bytes = largest_head_bytes
        self._requests = self._chunks = 0
        self.is_refused = self.is_closed = False

    def next_event(self) -> Any:
        """Return h11's next event. Raises h11.RemoteProtocolError with the status of the answer."""
        if self.is_closed:  # nobody would read an answer to what was received before
            return h11.ConnectionClosed()
        if self.is_refused:
            raise h11.RemoteProtocolError("Nothing is read after a refusal")
        if self.their_state is h11.IDLE:
            self._check_size_of_head()
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._check_request(event)
            return _without_upgrade(event)
        if isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            if self._chunks > _MOST_CHUNKS:
                self._refuse(413, "Too many chunks")
        is_in_body = event is h11.NEED_DATA and self.their_state is h11.SEND_BODY
        # An unfinished chunk extension or trailer: all other data has been returned.
        if is_in_body and len(self.trailing_data[0]) > _LONGEST_LINE_IN_BODY_BYTES:
            self._refuse(400, "A line in the body is too long")
        return event

    def _check_size_of_head(self) -> None:
        """Refuse a head that is too large, whether or not all of it has been received.

        h11 looks at the size of an incomplete head only, and Hypercorn hands it 64 KiB at a time.
        """
        received = self.trailing_data[0]
        end = _END_OF_HEAD.search(received)
        size = end.end() if end else len(received)
        if size > self._largest_head_bytes or received.count(b"\n", 0, size) > MOST_FIELDS + 2:
            is_target = b"\n" not in received[: self._largest_head_bytes]
            self._refuse(414 if is_target else 431, "The head is too large")

    def _check_request(self, request: h11.Request) -> None:
        """Refuse a body whose end a proxy may see elsewhere (RFC 9112 sections 6.1 and 6.3).

        A server may also read the chunks, answer and close. But then it has already carried out
        what a proxy saw as the end of one request, or as another. HTTP/1.0 has no
        Transfer-Encoding.
        """
        self._chunks = 0
        self._requests += 1
        names = [name for name, _ in request.headers]
        has_chunks = b"transfer-encoding" in names
        if has_chunks and (b"content-length" in names or request.http_version < b"1.1"):
            self._refuse(400, "The body's length is unclear")
        if request.http_version == b"2.0" and self._requests > 1:
            self._refuse(400, "HTTP/2 begins with the connection")

    def _refuse(self, status: int, reason: str) -> NoReturn:
        self.is_refused = True
        raise h11.RemoteProtocolError(reason, error_status_hint=status)


class BoundedH11Protocol(H11Protocol):
    """Hypercorn's HTTP/1.1 on such a connection."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connection: BoundedH11Connection = BoundedH11Connection(
            self.config.h11_max_incomplete_size
        )

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        """Send to the client, except the application's answer to a request refused meanwhile."""
        try:
            await super()._send_h11_event(event)
        except h11.LocalProtocolError:
            if not self.connection.is_refused:
                raise

    async def handle(self, event: Event) -> None:
        """Read what the client sent, a piece at a time."""
        if isinstance(event, Closed):
            await self._close(event)
            return
        if not isinstance(event, RawData) or len(event.data) <= PIECE_BYTES:
            await super().handle(event)
            return
        for end in range(PIECE_BYTES, len(event.data) + PIECE_BYTES, PIECE_BYTES):
            try:
                await super().handle(RawData(event.data[end - PIECE_BYTES : end]))
            except H2ProtocolAssumedError as error:
                raise H2ProtocolAssumedError(error.data + event.data[end:]) from None

    async def _close(self, event: Closed) -> None:
        """End the wait for the end of an answer, before which the next request is not read.

        The answer of a closed connection has no end, so Hypercorn would wait for ever (`PAUSED` in
        `_handle_events`): each such connection kept its memory, and held up the server's stop.
        """
        self.connection.is_closed = True
        await super().handle(event)
        await self.can_read.set()

    async def stream_send(self, event: StreamEvent) -> None:
        """Send a part of an answer; also one of Hypercorn's own gets our headers."""
        if isinstance(event, Response):
            headers = with_headers_of_refusal(event.headers)
            if is_draining(self.context) and _CLOSE not in headers:
                headers.append(_CLOSE)
            event = replace(event, headers=headers)
        await super().stream_send(event)

    async def _send_error_response(self, status_code: int) -> None:
        """Answer a request that can't be read."""
        headers = [*headers_of_refusal(), _CLOSE]
        await self.stream_send(Response(STREAM_ID, headers, status_code))
        await self.stream_send(EndBody(STREAM_ID))


def _without_upgrade(request: h11.Request) -> h11.Request:
    """Return the request without `Upgrade`, which a server may ignore (RFC 9110 section 7.8).

    Hypercorn honours `h2c` (`_check_protocol` in hypercorn/protocol/h11.py). A proxy that passes it
    on then carries the client's own HTTP/2 requests, with any X-Forwarded-For that they claim. When
    Hypercorn refuses a WebSocket, it answers but leaves the connection open for ever.
    """
    if all(name != b"upgrade" for name, _ in request.headers):
        return request
    return h11.Request(
        method=request.method,
        target=request.target,
        headers=[(name, value) for name, value in request.headers if name != b"upgrade"],
        http_version=request.http_version,
    )
