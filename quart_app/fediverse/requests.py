"""Requests to a server's own addresses, with or without an access token."""

import re
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from quart_app.fediverse.answers import json_object, raise_for_failure
from quart_app.fediverse.errors import ServerNotSupported, ServerUnreachable, TokenRefused
from quart_app.fediverse.guarded_transport import GuardedTransport
from quart_app.fediverse.server_names import url_at

HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "User-Agent": "quart_app",
}
# The characters of a token, as RFC 6750 has them and a few more that a header can carry.
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,4096}")


class Requests:
    """Requests without a client: no cookies, no redirects, nothing from the environment."""

    def __init__(self, transport: GuardedTransport) -> None:
        self._transport = transport

    async def get(
        self, server: str, path: str, *, access_token: str | None = None
    ) -> httpx2.Response:
        """Return the answer if its status is below 500. Raises ServerError's subclasses."""
        headers = HEADERS
        if access_token is not None:
            if not _TOKEN.fullmatch(access_token):
                raise TokenRefused(server)
            headers = {**HEADERS, "Authorization": f"Bearer {access_token}"}
        return await self._send("GET", server, path, headers=headers)

    async def post(self, server: str, path: str, form: Mapping[str, str]) -> httpx2.Response:
        """Post a form; otherwise as `get`."""
        return await self._send("POST", server, path, headers=HEADERS, data=form)

    async def get_object(self, server: str, path: str) -> dict[str, Any]:
        """Return the JSON object at a path. Raises ServerNotSupported for another status, too."""
        response = await self.get(server, path)
        if not response.is_success:
            raise ServerNotSupported(server)
        return json_object(server, response)

    async def _send(self, method: str, server: str, path: str, **options: Any) -> httpx2.Response:
        try:
            url = url_at(server, path)
        except ValueError:
            raise ServerUnreachable(server) from None
        request = httpx2.Request(method, url, **options)
        response = await self._transport.handle_async_request(request)
        raise_for_failure(server, response)
        return response
