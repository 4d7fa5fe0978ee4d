"""ASGI middleware that refuses WebSocket handshakes and requests that can't be parsed.

Quart parses a request's target and host before any handler of ours runs, and fails at some.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPScope,
    Scope,
    WebsocketScope,
)
from werkzeug.sansio.utils import get_host

from quart_app import errors
from quart_app.web.pipeline.problems import BAD_REQUEST, problem_document

# Returns the headers of one refusal, with its request id.
MakeHeaders = Callable[[], Mapping[str, str]]
# Of an Accept header; browsers send less than 200 bytes.
_LONGEST_PREFERENCE_BYTES = 1024
_MOST_QUERY_FIELDS = 100


class RejectInvalidHost:
    """An ASGI application that refuses a Host that can't be one.

    It runs after the middleware that applies a proxy's headers, to check a forwarded host, too.
    """

    def __init__(self, app: ASGIFramework, make_headers: MakeHeaders) -> None:
        self.app, self.make_headers = app, make_headers

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer by 400, or pass on."""
        if scope["type"] == "http" and not _has_readable_host(scope):
            await _refuse(send, "http.response", HTTPStatus.BAD_REQUEST, self.make_headers())
        else:
            await self.app(scope, receive, send)


class RejectInvalidTarget:
    """An ASGI application that refuses a target that can't be read, and every WebSocket.

    It runs first, on the server's own scope, because it repairs that for the server's access log.
    """

    def __init__(self, app: ASGIFramework, make_headers: MakeHeaders) -> None:
        self.app, self.make_headers = app, make_headers

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer by 400 or 404, or pass on."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        _forget_long_preferences(scope)
        is_readable = _has_readable_target(scope)
        if _is_handshake(scope):
            await _refuse(send, "http.response", HTTPStatus.NOT_FOUND, self.make_headers())
        elif scope["type"] == "websocket":
            await receive()  # the handshake
            await _refuse(
                send, "websocket.http.response", HTTPStatus.NOT_FOUND, self.make_headers()
            )
        elif is_readable:
            await self.app(scope, receive, send)
        else:
            await _refuse(send, "http.response", HTTPStatus.BAD_REQUEST, self.make_headers())


def _is_handshake(scope: HTTPScope | WebsocketScope) -> bool:
    """Return whether this is a WebSocket handshake; the server has removed its `Upgrade`."""
    return scope["type"] == "http" and b"sec-websocket-key" in [
        name.lower() for name, _ in scope["headers"]
    ]


def _has_readable_host(scope: HTTPScope) -> bool:
    host = b""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value
            break
    return _is_readable_host(scope["scheme"], host)


@lru_cache(maxsize=64)  # a site has few names, and IDNA takes longer than the rest of this module
def _is_readable_host(scheme: str, host: bytes) -> bool:
    # RFC 9110 section 4.2.3: names come in ASCII. The router would turn others into another
    # host, because it follows IDNA 2003.
    if not host.isascii():
        return False
    try:
        # As the router does.
        get_host(scheme, host.decode("ascii") or None).lower().encode("idna")
    except UnicodeError:
        return False
    return True


def _forget_long_preferences(scope: HTTPScope | WebsocketScope) -> None:
    """Remove Accept headers that would take milliseconds to parse.

    A server may disregard preferences (RFC 9110 section 12.1).
    """
    headers = list(scope["headers"])
    if max([len(value) for _, value in headers], default=0) <= _LONGEST_PREFERENCE_BYTES:
        return
    scope["headers"] = [
        (name, value)
        for name, value in headers
        if len(value) <= _LONGEST_PREFERENCE_BYTES or not name.lower().startswith(b"accept")
    ]


def _has_readable_target(scope: HTTPScope | WebsocketScope) -> bool:
    path = scope["path"]
    if scope["query_string"].count(b"&") >= _MOST_QUERY_FIELDS:
        return False
    try:
        scope["query_string"].decode()
        # One that begins with a scheme is for proxies, and Quart takes the path out of it.
        return path != "" and (path.startswith("/") or urlsplit(path).path != "")
    except UnicodeDecodeError:
        scope["query_string"] = b""  # Hypercorn's access log fails at it as well
    except ValueError:
        pass
    return False


async def _refuse(
    send: ASGISendCallable, kind: str, status: HTTPStatus, headers: Mapping[str, str]
) -> None:
    code, sentence = (
        (errors.NotFound.code, errors.NotFound.default_sentence)
        if status == HTTPStatus.NOT_FOUND
        else BAD_REQUEST
    )
    body = problem_document(status, code, sentence).encode()
    all_headers = {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        **headers,
    }
    start: Any = {
        "type": f"{kind}.start",
        "status": int(status),
        "headers": [(name.lower().encode(), text.encode()) for name, text in all_headers.items()],
    }
    rest: Any = {"type": f"{kind}.body", "body": body, "more_body": False}
    await send(start)
    await send(rest)
