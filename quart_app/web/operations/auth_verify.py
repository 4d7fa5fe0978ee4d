"""`/auth/verify`: tells a reverse proxy whose session a request has, before Quart and any query.

A proxy asks here before it passes a request to another application behind the same login: nginx
with `auth_request`, Caddy and Traefik with forward auth, Envoy with `ext_authz`.
docs/auth-verify.md has their configurations.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

from quart_app.errors import AppError, NotLoggedIn, Unavailable
from quart_app.observed_request import note_route
from quart_app.session import Session, joined_cookie_header
from quart_app.web.pipeline.claims import current_connection_id
from quart_app.web.pipeline.gate import UNVERIFIABLE
from quart_app.web.pipeline.headers import RETRY_AFTER_SECONDS, EncodedHeaders, encoded
from quart_app.web.pipeline.problems import problem_document
from quart_app.web.pipeline.request_errors import TooManyCookies
from quart_app.web.pipeline.request_ids import REQUEST_ID_HEADER, observed_request_id

PATH: Final = "/auth/verify"

# Returns the session of a Cookie header; None where the application has no key.
OpenSession = Callable[[bytes], Session | None]


class AuthVerify:
    """An ASGI application that answers at and below /auth/verify, and passes on everything else.

    `root_path` is the part of the scope's path that comes first.

    It looks at the path and the Cookie header only. A method, a body, a Host header, a query or
    forwarded headers change nothing, because a proxy may send those of the original request.

    `headers` are those of every answer. A 204 has only the two for caches: no browser shows it,
    and to check and write the others would cost a tenth of the whole answer.
    """

    def __init__(
        self,
        app: ASGIFramework,
        open_session: OpenSession,
        headers: Mapping[str, str],
        *,
        root_path: str = "",
    ) -> None:
        self._app, self._open_session = app, open_session
        self._path = f"{root_path}{PATH}"
        self._below = f"{self._path}/"
        for_caches = {"Cache-Control": "no-store", "Vary": "Cookie"}
        always = {**headers, **for_caches}
        self._allowed = encoded(for_caches)
        self._not_logged_in = _Refusal(HTTPStatus.UNAUTHORIZED, NotLoggedIn(), always)
        # Elsewhere this is 400, which proxies would take for a failure of their own request.
        self._too_many_cookies = _Refusal(HTTPStatus.FORBIDDEN, TooManyCookies(), always)
        self._unverifiable = _Refusal(
            HTTPStatus.SERVICE_UNAVAILABLE,
            Unavailable(UNVERIFIABLE),
            {**always, "Retry-After": str(RETRY_AFTER_SECONDS)},
        )

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer by 204, 401, 403 or 503, or pass on."""
        if scope["type"] != "http" or not self._is_ours(scope["path"]):
            await self._app(scope, receive, send)
            return
        note_route(PATH)
        scope["query_string"] = b""  # Hypercorn's access log fails at one that is not UTF-8
        start, body = self._answer(self._open_session(joined_cookie_header(scope["headers"])))
        await send(start)
        await send(body)

    def _is_ours(self, path: str) -> bool:
        return path.startswith(self._path) and (path == self._path or path.startswith(self._below))

    def _answer(self, session: Session | None) -> tuple[Any, Any]:
        """Return the two ASGI messages of the answer."""
        if session is None or (claims := session.claims) is None:
            return self._refusal(session).messages()
        platform_connection_id = current_connection_id(claims)
        named = "" if platform_connection_id is None else platform_connection_id
        headers = [*self._allowed, *_identity(claims.user_id, named)]
        return _start(HTTPStatus.NO_CONTENT, headers), {"type": "http.response.body"}

    def _refusal(self, session: Session | None) -> "_Refusal":
        if session is not None and session.has_too_many_cookies:
            return self._too_many_cookies
        if session is not None and session.is_unverifiable:
            return self._unverifiable
        return self._not_logged_in


class _Refusal:
    """An answer that names nobody, encoded once. Its body is for proxies that pass it on."""

    def __init__(self, status: HTTPStatus, error: AppError, headers: Mapping[str, str]) -> None:
        self._status = status
        document = problem_document(status, error.code, error.sentence).encode()
        self._body = {"type": "http.response.body", "body": document}
        own = {"Content-Type": "application/problem+json", "Content-Length": str(len(document))}
        self._headers = [*encoded({**headers, **own}), *_identity("", "")]

    def messages(self) -> tuple[Any, Any]:
        return _start(self._status, [*self._headers]), self._body


def _identity(user_id: object, platform_connection_id: object) -> EncodedHeaders:
    """Return both identity headers, so that a proxy that copies them overwrites the client's."""
    return [
        (b"x-user-id", str(user_id).encode()),
        (b"x-platform-connection-id", str(platform_connection_id).encode()),
    ]


def _start(status: HTTPStatus, headers: EncodedHeaders) -> dict[str, Any]:
    """Return the first message; it takes over `headers` and adds the request's id."""
    headers.append((_REQUEST_ID, observed_request_id().encode()))
    return {"type": "http.response.start", "status": int(status), "headers": headers}


_REQUEST_ID: Final = REQUEST_ID_HEADER.lower().encode()
