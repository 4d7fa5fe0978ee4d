"""Trusted proxies tell the client's address, scheme and host; the client itself tells none."""

from typing import Any

import pytest
from hypercorn.middleware import ProxyFixMiddleware

from quart_app.web.pipeline.trusted_proxies import TrustProxies

HEADERS: list[list[tuple[bytes, bytes]]] = [
    [],
    [(b"x-forwarded-for", b"203.0.113.9")],
    [(b"x-forwarded-for", b"1.1.1.1, 203.0.113.9")],
    [(b"x-forwarded-for", b"1.1.1.1, 2.2.2.2"), (b"x-forwarded-for", b"203.0.113.9")],
    [(b"x-forwarded-for", b"[2001:db8::1]:443 , 10.0.0.1")],
    [(b"x-forwarded-for", b"a\xff,b\xff")],
    [(b"x-forwarded-proto", b"https")],
    [(b"x-forwarded-proto", b"http, https"), (b"x-forwarded-host", b"a.example, b.example:8443")],
    [(b"x-forwarded-host", b"a.example"), (b"x-forwarded-host", b"b.example")],
    [(b"forwarded", b"for=203.0.113.9;proto=https"), (b"x-forwarded-port", b"1")],
]


def new_scope(headers: list[tuple[bytes, bytes]]) -> Any:
    return {
        "type": "http",
        "scheme": "http",
        "client": ("127.0.0.1", 5),
        "headers": [(b"host", b"quart.example"), (b"accept", b"*/*"), *headers],
    }


async def seen_behind(middleware: type, scope: Any, *arguments: Any, **options: Any) -> Any:
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append({name: scope[name] for name in ("scheme", "client", "headers")})

    await middleware(app, *arguments, **options)(scope, None, None)
    return seen[0]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("headers", HEADERS)
async def test_headers_are_read_as_by_hypercorns_own_middleware(
    headers: list[tuple[bytes, bytes]], count: int
) -> None:
    theirs = await seen_behind(ProxyFixMiddleware, new_scope(headers), trusted_hops=count)
    scope = new_scope(headers)
    assert await seen_behind(TrustProxies, scope, count) == theirs
    assert scope["client"] == theirs["client"]  # what the access log shows


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"])
@pytest.mark.parametrize("value", [b"", b" ", b","])
async def test_an_empty_value_changes_nothing(name: bytes, value: bytes) -> None:
    scope = new_scope([(name, value)])
    seen = await seen_behind(TrustProxies, scope, 1)
    assert (seen["scheme"], seen["client"]) == ("http", ("127.0.0.1", 5))
    assert (b"host", b"quart.example") in seen["headers"]


async def test_a_scheme_that_no_browser_uses_here_changes_nothing() -> None:
    seen = await seen_behind(TrustProxies, new_scope([(b"x-forwarded-proto", b"gopher")]), 1)
    assert seen["scheme"] == "http"
