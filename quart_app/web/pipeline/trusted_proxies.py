"""The client's address, scheme and host, from the headers of trusted proxies.

Hypercorn's `ProxyFixMiddleware` reads the same headers, but copies the whole scope for each request
(0.1 ms), and its access log keeps the proxy's address.
"""

from collections.abc import Iterable
from typing import Final, Literal, cast

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

_FOR: Final = b"x-forwarded-for"
_PROTO: Final = b"x-forwarded-proto"
_HOST: Final = b"x-forwarded-host"
_SCHEMES: Final = {b"http", b"https"}

Headers = Iterable[tuple[bytes, bytes]]


class TrustProxies:
    """An ASGI application that believes the headers of `count` proxies in front.

    Each proxy appends a value, so the one that counts is the `count`-th from the end. Values before
    it are the client's own; with fewer values, the header is not read. The server's own scope is
    changed, so its access log has the client's address, too.
    """

    def __init__(self, app: ASGIFramework, count: int) -> None:
        self._app, self._count = app, count

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Complete the scope, and pass on."""
        if scope["type"] in {"http", "websocket"}:
            headers = scope["headers"]
            values: dict[bytes, list[bytes]] = {_FOR: [], _PROTO: [], _HOST: []}
            for name, value in headers:
                if name in values:
                    values[name] += value.split(b",")
            if client := self._trusted(values[_FOR]):
                scope["client"] = (client.decode("latin1"), 0)
            if (scheme := self._trusted(values[_PROTO]).lower()) in _SCHEMES:
                scope["scheme"] = cast(Literal["http", "https"], scheme.decode())
            if host := self._trusted(values[_HOST]):
                others = [field for field in headers if field[0] != b"host"]
                scope["headers"] = [*others, (b"host", host)]
        await self._app(scope, receive, send)

    def _trusted(self, values: list[bytes]) -> bytes:
        """Return the value by the outermost trusted proxy; empty where there is none."""
        return values[-self._count].strip() if len(values) >= self._count else b""
