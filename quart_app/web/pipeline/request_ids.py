"""Request ids, and the trace that a request is part of (W3C Trace Context).

A request's id is the proxy's, or made here. It is in the answer, in the log and in the audit log,
so that all of them can be searched for one id. A client's own is never taken: it need not be
unique.
"""

import re
import secrets
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Final, cast

from quart import request as current_request
from quart.wrappers import Request

from quart_app.observed_request import ObservedRequest, observed_request

REQUEST_ID_HEADER: Final = "X-Request-Id"
_BYTES: Final = 12  # 24 characters: collisions are practically impossible
_REQUEST_ID: Final = REQUEST_ID_HEADER.lower().encode()
_TRACEPARENT: Final = b"traceparent"
_READ: Final = {_REQUEST_ID, _TRACEPARENT}
# The audit log has room for 32 characters: a UUID without its dashes, or nginx's $request_id.
_AN_ID: Final = re.compile(rb"[0-9A-Za-z_-]{8,32}")
_A_UUID: Final = re.compile(rb"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
# W3C Trace Context, section 3.2: version, trace id, parent id and flags. A later version may append
# more; ff is no version, and ids of zeros are invalid.
_A_TRACEPARENT: Final = re.compile(
    rb"(?:00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    rb"|(?!00|ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?)"
)

Headers = Iterable[tuple[bytes, bytes]]


class IdentifiedRequest(Request):
    """A request that gets its id first, before its session or anything else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request_id = observed_request_id()

    @cached_property
    def blueprints(self) -> list[str]:
        """The names of the blueprints of the view. Quart asks for them three times."""
        return super().blueprints


def observe(headers: Headers, *, is_proxied: bool) -> ObservedRequest:
    """Return the request with these headers. `is_proxied` means that a trusted proxy sent them."""
    read = [field for field in headers if field[0] in _READ]
    if not read:
        return ObservedRequest(new_request_id())
    request_id = _proxys_id(_only(read, _REQUEST_ID)) if is_proxied else None
    return ObservedRequest(request_id or new_request_id(), _trace_id(_only(read, _TRACEPARENT)))


def new_request_id() -> str:
    """Return a new id for a request."""
    return secrets.token_hex(_BYTES)


def observed_request_id() -> str:
    """Return the id of the request that is being answered; outside one, a new id."""
    observed = observed_request()
    return observed.request_id if observed else new_request_id()


def request_id_of(request: Request) -> str:
    """Return the id of a request of the application."""
    return cast(IdentifiedRequest, request).request_id


def request_id() -> str:
    """Return the id of the current request."""
    return request_id_of(current_request)


def _only(headers: Headers, name: bytes) -> bytes:
    """Return the value of a header; empty if there is none, or if there are several."""
    values = [value for each, value in headers if each == name]
    return values[0] if len(values) == 1 else b""


def _proxys_id(value: bytes) -> str | None:
    if _A_UUID.fullmatch(value):
        value = value.replace(b"-", b"")
    return value.decode() if _AN_ID.fullmatch(value) else None


def _trace_id(value: bytes) -> str | None:
    match = _A_TRACEPARENT.fullmatch(value)
    return (match[1] or match[2]).decode() if match else None
