"""HTTP/1.1 as h11 reads it, with bounds on heads and chunks, and without a switch to HTTP/2."""

import re
from typing import Any, Final

import h11
from hypercorn.protocol.h11 import H11Protocol

from quart_app.web.connections.heads import LARGEST_HEAD_BYTES, MOST_FIELDS

_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")  # as h11, which takes a bare LF for a line end
# A body has 64 KiB at most. Chunks of single bytes would cost more than everything else in it.
_MOST_CHUNKS: Final = 256


class BoundedH11Connection(h11.Connection):
    """A connection that refuses a request before its parsing costs much."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD_BYTES)
        self._chunks = 0

    def next_event(self) -> Any:
        """Return what h11 does. Raises h11.RemoteProtocolError with the status of the answer."""
        if self.their_state is h11.IDLE:
            _refuse_large_head(self.trailing_data[0])
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = 0
            _refuse_unclear_length(event)
            return _without_upgrade_to_http2(event)
        if isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            if self._chunks > _MOST_CHUNKS:
                raise h11.RemoteProtocolError("Too many chunks", error_status_hint=413)
        return event


class BoundedH11Protocol(H11Protocol):
    """Hypercorn's HTTP/1.1 on such a connection."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connection = BoundedH11Connection()


def _refuse_large_head(received: bytes) -> None:
    """Refuse a head that is too large, whether or not all of it has been received.

    h11 looks at the size of an incomplete head only, and Hypercorn hands it 64 KiB at a time.
    """
    end = _END_OF_HEAD.search(received)
    size = end.end() if end else len(received)
    if size > LARGEST_HEAD_BYTES or received.count(b"\n", 0, size) > MOST_FIELDS + 2:
        status = 431 if b"\n" in received[:LARGEST_HEAD_BYTES] else 414
        raise h11.RemoteProtocolError("The head is too large", error_status_hint=status)


def _refuse_unclear_length(request: h11.Request) -> None:
    """Refuse a body whose end a proxy may see elsewhere (RFC 9112 sections 6.1 and 6.3).

    It would be allowed to read the chunks and then close; but then what a proxy took for the next
    request would have been answered under a wrong name. HTTP/1.0 has no Transfer-Encoding.
    """
    names = [name for name, _ in request.headers]
    has_chunks = b"transfer-encoding" in names
    if has_chunks and (b"content-length" in names or request.http_version < b"1.1"):
        raise h11.RemoteProtocolError("The length is unclear", error_status_hint=400)


def _without_upgrade_to_http2(request: h11.Request) -> h11.Request:
    """Return the request without `Upgrade: h2c`, which a server may ignore (RFC 9110 section 7.8).

    Hypercorn honours it (`_check_protocol` in hypercorn/protocol/h11.py). A proxy that passes it on
    then carries the client's own HTTP/2 requests, and with them any X-Forwarded-For they claim.
    """
    headers = [
        (name, value)
        for name, value in request.headers
        if name != b"upgrade" or value.strip().lower() != b"h2c"
    ]
    if len(headers) == len(request.headers):
        return request
    return h11.Request(
        method=request.method,
        target=request.target,
        headers=headers,
        http_version=request.http_version,
    )
