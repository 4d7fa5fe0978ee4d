"""What every request passes first: it gets its id, and is counted and timed when it is answered."""

import time
from typing import Any

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

from quart_app import observed_request
from quart_app.web.operations.request_counts import RequestCounts
from quart_app.web.pipeline.request_ids import observe


class ObserveRequests:
    """An ASGI application that observes the requests of another one.

    With `is_proxied`, all requests come from trusted proxies. A request takes until its answer
    begins: an event stream is open for hours.
    """

    def __init__(self, app: ASGIFramework, counts: RequestCounts, *, is_proxied: bool) -> None:
        self._app, self._counts, self._is_proxied = app, counts, is_proxied

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Pass on, and count the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        observed = observe(scope["headers"], is_proxied=self._is_proxied)
        method = scope["method"]

        async def observing(message: Any) -> None:
            if message["type"] == "http.response.start":
                seconds = time.perf_counter() - began
                self._counts.add(observed.route, method, message["status"], seconds)
            await send(message)

        token = observed_request.begin(observed)
        try:
            await self._app(scope, receive, observing)
        finally:
            observed_request.end(token)
