"""The ASGI client of `scripts/bench/session_cost.py`: it calls applications without a network."""

import asyncio
import gc
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from bench.session_cost_applications import ASGIApp, Contender

# At the start of each round, because the processor has just run another application.
_UNCOUNTED = 5

BROWSER = [
    (b"host", b"fediverse.example"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-GB,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"referer", b"https://fediverse.example/account"),
    (b"sec-fetch-site", b"same-origin"),
    (b"sec-fetch-mode", b"navigate"),
]


class AsgiClient:
    """Calls applications like a server, with a browser's GET request without a body."""

    def __init__(self, requests: int) -> None:
        self._requests = requests
        self._counter = itertools.count()

    def scopes(self, contender: Contender, path: str = "/") -> list[dict[str, Any]]:
        """Return the requests of a round, including those that are not counted."""
        return [
            {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": "1.1",
                "method": "GET",
                "scheme": "https",
                "path": path,
                "raw_path": path.encode(),
                "query_string": b"",
                "root_path": "",
                "headers": [*BROWSER, (b"cookie", self._cookie(contender))],
                "client": ("203.0.113.7", 50000),
                "server": ("fediverse.example", 443),
                "extensions": {},
                **contender.in_scope,
            }
            for _ in range(_UNCOUNTED + self._requests)
        ]

    def _cookie(self, contender: Contender) -> bytes:
        suffix = f"; n={next(self._counter)}" if contender.has_unique_headers else ""
        return (contender.cookie + suffix).encode()

    async def seconds_a_request(self, app: ASGIApp, scopes: Sequence[dict[str, Any]]) -> float:
        """Return the processor time of a request, averaged over a round."""
        gc.collect()
        gc.disable()
        for scope in scopes[:_UNCOUNTED]:
            await app(scope, _receive(), _discard)
        began = time.process_time()
        for scope in scopes[_UNCOUNTED:]:
            await app(scope, _receive(), _discard)
        seconds = time.process_time() - began
        gc.enable()
        return seconds / self._requests

    async def answer(
        self, app: ASGIApp, contender: Contender, path: str = "/"
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        """Return the status, headers and body of one response."""
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await app(self.scopes(contender, path)[0], _receive(), send)
        body = b"".join(message.get("body", b"") for message in sent)
        return sent[0]["status"], dict(sent[0]["headers"]), body


def _receive() -> Callable[[], Awaitable[dict[str, Any]]]:
    """Return an ASGI `receive` that sends an empty body, then waits: the client stays connected."""
    is_first = True

    async def receive() -> dict[str, Any]:
        nonlocal is_first
        if is_first:
            is_first = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    return receive


async def _discard(_message: dict[str, Any]) -> None:
    pass
