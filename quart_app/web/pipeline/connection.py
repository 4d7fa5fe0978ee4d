"""One HTTP request on a connection: Quart's answer goes out, with the headers of every answer.

The headers are encoded once for the process. Set on each response, and encoded there by Quart, they
cost more than the rest of a short answer.
"""

import asyncio
from typing import Any, cast

from hypercorn.typing import ASGISendCallable
from quart.asgi import ASGIHTTPConnection
from quart.typing import ResponseTypes
from quart.wrappers import Request
from quart.wrappers.response import DataBody
from werkzeug.wrappers import Response as WerkzeugResponse


class Connection(ASGIHTTPConnection):
    """Quart's, but for the headers, and for an answer in one piece: that is sent in one message.

    The application has its `headers_of_every_answer`.
    """

    async def handle_request(self, request: Request, send: ASGISendCallable) -> None:
        """Answer a request, within the time that its response may take."""
        response = await self.app.handle_request(request)
        seconds = getattr(response, "timeout", ...)
        if seconds is ...:
            seconds = self.app.config["RESPONSE_TIMEOUT"]
        try:
            # Quart's `wait_for` makes a task of its own.
            async with asyncio.timeout(cast(float | None, seconds)):
                await self._send_response(send, response)
        except TimeoutError:
            pass

    async def _send_response(self, send: Any, response: ResponseTypes) -> None:
        headers = [(name.lower().encode(), value.encode()) for name, value in response.headers]
        self.app.headers_of_every_answer.complete(headers)  # type: ignore[attr-defined]
        await send(
            {
                "type": "http.response.start",
                "status": int(response.status_code),
                "headers": headers,
            }
        )
        if isinstance(response, WerkzeugResponse):
            await _send_body(send, response.get_data())
            return
        body = response.response
        if isinstance(body, DataBody):
            await _send_body(send, body.data[body.begin : body.end])
            return
        async with body as pieces:
            async for piece in pieces:
                await _send_body(send, piece, more_body=True)
        await _send_body(send, b"")


async def _send_body(send: Any, body: bytes | str, *, more_body: bool = False) -> None:
    data = body.encode() if isinstance(body, str) else body
    await send({"type": "http.response.body", "body": data, "more_body": more_body})
