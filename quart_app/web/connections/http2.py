"""HTTP/2 as Hypercorn speaks it, with requests checked and streams that end."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Final, TypeGuard

import h2.errors
import h2.events
import h2.exceptions
import h2.stream
from h2.utilities import HeaderValidationFlags, validate_headers
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Body, Data, EndBody, EndData, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from hyperframe.frame import GoAwayFrame

from quart_app.web.connections.draining import is_draining
from quart_app.web.connections.heads import MOST_FIELDS, PIECE_BYTES
from quart_app.web.connections.refusals import headers_of_refusal, with_headers_of_refusal

# RFC 9110 section 5.6.2, as h11 has it for HTTP/1.1.
_TOKEN: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(rb"[\x21-\x7e]+")
# Frames with next to no content, such as pings or a few bytes of a body. Each costs as much as a
# frame with a page in it. A connection may send this many, and some more with each request.
_FRAMES_FOR_NOTHING: Final = 200
_FRAMES_FOR_NOTHING_PER_REQUEST: Final = 10
# A reset costs more than its request brings, so that 100 in a row end the connection
# (CVE-2023-44487: requests that are reset at once are work without a limit).
_FRAMES_PER_RESET: Final = 12
_SMALL_BYTES: Final = 256
_STALLED_SECONDS: Final = 30
_AFTER_GOAWAY: Final = b"stopping"
_OF_A_REQUEST: Final = HeaderValidationFlags(
    is_client=False, is_trailer=False, is_response_header=False, is_push_promise=False
)


class _Stop(Enum):
    """How far the connection is with the server's stop."""

    NOT_ANNOUNCED = auto()
    ANNOUNCED = auto()
    HEARD = auto()  # the client knows, and opens no more streams
    ENDED = auto()  # all streams are answered


class StreamOfAnyLength(h2.stream.H2Stream):
    """A stream of h2 that leaves it to BoundedH2Protocol to compare Content-Length with the body.

    h2 ends the connection with all its requests where they differ. RFC 9113 section 8.1.1 asks for
    the end of that stream only.
    """

    def _initialize_content_length(self, headers: Iterable[Any]) -> None:
        if self.config.client_side:
            super()._initialize_content_length(headers)


class BoundedH2Protocol(H2Protocol):
    """One connection of HTTP/2."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        # Else one malformed request makes h2 end the connection, with all its other requests.
        self.connection.config.validate_inbound_headers = False
        self._allowed_for_nothing = _FRAMES_FOR_NOTHING
        # By stream that has announced one: the bytes of its body that have not come yet.
        self._missing_bytes: dict[int, int] = {}
        self._stop = _Stop.NOT_ANNOUNCED

    async def initiate(self, *arguments: Any) -> None:
        """Begin the connection."""
        await super().initiate(*arguments)
        if is_draining(self.context):
            await self.announce_stop()

    async def announce_stop(self) -> None:
        """Tell the client to open no more streams, and serve those that it has opened.

        The limit in this GOAWAY excludes no stream that is on its way. The client answers the PING
        when it has read the GOAWAY, so after that answer no more streams come (RFC 9113 section
        6.8). h2 can't send such a GOAWAY: to it, every GOAWAY is the end.
        """
        if self._stop is not _Stop.NOT_ANNOUNCED:
            return
        self._stop = _Stop.ANNOUNCED
        await self._flush()
        with suppress(h2.exceptions.ProtocolError):  # it has ended already
            self.connection.ping(_AFTER_GOAWAY)
            goaway = GoAwayFrame(last_stream_id=self.connection.HIGHEST_ALLOWED_STREAM_ID)
            await self.send(RawData(goaway.serialize() + self.connection.data_to_send()))

    async def _end_if_idle(self) -> None:
        """Send the last GOAWAY after the last answer; the client closes, or the end of the drain.

        If the server closed, a frame of the client's could make the system reset the connection
        and discard the end of that answer.
        """
        if self._stop is _Stop.HEARD and not self.streams:
            self._stop = _Stop.ENDED
            self.connection.close_connection()
            await self._flush()

    async def handle(self, event: Event) -> None:
        """Read what the client sent, a piece at a time."""
        if not isinstance(event, RawData):
            await super().handle(event)
            return
        if self._stop is _Stop.ENDED:
            return
        for start in range(0, len(event.data), PIECE_BYTES):
            if self._allowed_for_nothing >= 0:
                await super().handle(RawData(event.data[start : start + PIECE_BYTES]))

    async def stream_send(self, event: StreamEvent) -> None:
        """Send a piece of an answer; close the connection of a client that takes none of it.

        A client takes nothing while it keeps its window at 0 (RFC 9113 section 5.2).
        """
        if isinstance(event, Response):
            event = replace(event, headers=with_headers_of_refusal(event.headers))
        if not isinstance(event, Body | Data | EndBody | EndData):
            await super().stream_send(event)
            if isinstance(event, StreamClosed):
                await self._end_if_idle()
            return
        try:
            async with asyncio.timeout(_STALLED_SECONDS):
                await super().stream_send(event)
        except TimeoutError:
            await self.send(Closed())

    async def _handle_events(self, events: Sequence[h2.events.Event]) -> None:
        for event in events:
            self._allowed_for_nothing -= _frames_for_nothing(event)
            if self._allowed_for_nothing < 0:
                self.connection.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
                await self._flush()
                await self.send(Closed())
                return
            await self._handle_event(event)
        await self._flush()

    async def _handle_event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            status = _reason_to_refuse(event.headers, self.config.h2_max_header_list_size)
            if status is not None:
                self._refuse(event, status)
                return
            self._allowed_for_nothing += _FRAMES_FOR_NOTHING_PER_REQUEST
            if (length := _content_length(event.headers)) is not None:
                self._missing_bytes[event.stream_id] = length
        elif self._shows_wrong_length(event):
            await self._end_stream_of_wrong_length(event)
            return
        elif isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
            # The rest of a body that was answered already. Hypercorn would fail with a KeyError.
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            return
        elif isinstance(event, h2.events.PingAckReceived) and self._stop is _Stop.ANNOUNCED:
            self._stop = _Stop.HEARD
            await self._end_if_idle()
        elif isinstance(event, h2.events.PriorityUpdated):
            # Deprecated (RFC 9113 section 5.3). Hypercorn fails at a loop, or at 1,000 of them.
            return
        await super()._handle_events([event])

    def _shows_wrong_length(
        self, event: h2.events.Event
    ) -> TypeGuard[h2.events.DataReceived | h2.events.StreamEnded]:
        """Count the bytes of a body, and tell whether they can't be what was announced."""
        if isinstance(event, h2.events.DataReceived) and event.stream_id in self._missing_bytes:
            self._missing_bytes[event.stream_id] -= len(event.data)
            return self._missing_bytes[event.stream_id] < 0
        if isinstance(event, h2.events.StreamEnded):
            return self._missing_bytes.pop(event.stream_id, 0) != 0
        if isinstance(event, h2.events.StreamReset):
            self._missing_bytes.pop(event.stream_id, None)
        return False

    async def _end_stream_of_wrong_length(
        self, event: h2.events.DataReceived | h2.events.StreamEnded
    ) -> None:
        """Reset one stream. Its request has not been carried out, as its body has no end.

        It costs as much as a reset by the client, which could make us reset streams instead
        (CVE-2025-8671).
        """
        self._allowed_for_nothing -= _FRAMES_PER_RESET
        with suppress(h2.exceptions.ProtocolError):  # h2 has read on already: it may be over
            self.connection.reset_stream(event.stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
        if isinstance(event, h2.events.DataReceived):
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self._missing_bytes.pop(event.stream_id, None)
        await self._close_stream(event.stream_id)

    def _refuse(self, request: h2.events.RequestReceived, status: HTTPStatus) -> None:
        fields = [(b":status", b"%d" % status), *headers_of_refusal()]
        # h2 has read on already: the client may have ended the stream, or reset it.
        with suppress(h2.exceptions.ProtocolError):
            self.connection.send_headers(
                request.stream_id, fields + self.config.response_headers("h2"), end_stream=True
            )
            self.connection.reset_stream(request.stream_id, h2.errors.ErrorCodes.NO_ERROR)


def _frames_for_nothing(event: h2.events.Event) -> int:
    if isinstance(event, h2.events.StreamReset):
        return _FRAMES_PER_RESET
    if isinstance(event, h2.events.DataReceived):
        return len(event.data) < _SMALL_BYTES and event.stream_ended is None
    if isinstance(event, h2.events.WindowUpdated):
        return (event.delta or 0) < _SMALL_BYTES
    return isinstance(
        event,
        h2.events.PingReceived
        | h2.events.PriorityUpdated
        | h2.events.RemoteSettingsChanged
        | h2.events.UnknownFrameReceived,
    )


def _reason_to_refuse(
    headers: Sequence[tuple[bytes, bytes]], largest_bytes: int
) -> HTTPStatus | None:
    """Return the status for a request that can't be served; None for all others.

    Hypercorn decodes method and path as ASCII and expects both, though CONNECT has no path; then
    the whole connection ends, with a traceback. A method may hold a quote, which would end it in
    the access log.
    """
    size = sum(len(name) + len(value) for name, value in headers)
    if size > largest_bytes or len(headers) > MOST_FIELDS:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    try:
        for _ in validate_headers(headers, _OF_A_REQUEST):
            pass
        _content_length(headers)
    except (h2.exceptions.ProtocolError, ValueError):
        return HTTPStatus.BAD_REQUEST
    fields = dict(headers)
    method, target = fields.get(b":method", b""), fields.get(b":path", b"")
    if method == b"CONNECT":  # a tunnel, or a WebSocket (RFC 8441)
        return HTTPStatus.NOT_FOUND
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target):
        return HTTPStatus.BAD_REQUEST
    return None


def _content_length(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """Return the length of the body in bytes; None where it is not announced.

    Raises ValueError if it is not a number, or if there are two.
    """
    values = {value for name, value in headers if name == b"content-length"}
    if not values:
        return None
    (value,) = values
    if not value.isdigit():
        raise ValueError
    return int(value)
