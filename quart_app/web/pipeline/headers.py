"""Security headers: they tell browsers what our answers may do."""

import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, cast

from quart import g
from quart.wrappers import Response

from quart_app.errors import AppError
from quart_app.web.pipeline.request_ids import REQUEST_ID_HEADER, observed_request_id

CSP_REPORTS_PATH: Final = "/api/csp_reports"
_NONCE_BYTES: Final = 16  # CSP level 3, section 7.1: 128 bits at least
_REPORTING_GROUP: Final = "csp"
# For answers that are not pages: a browser that shows one must not load or run anything.
_NO_PAGE: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS: Final = {
    "Cache-Control": "no-store",  # the default; static files set their own
    "Content-Security-Policy": _NO_PAGE,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"
    ),
    # Not no-referrer: with it a browser sends `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
# Names in lower case, and values.
EncodedHeaders = list[tuple[bytes, bytes]]
TRY_AGAIN_LATER: Final = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
RETRY_AFTER_SECONDS: Final = 5  # where an error does not know better
_STRICT_TRANSPORT_SECURITY: Final = "max-age=31536000"


def headers_of_every_answer(*, is_https: bool) -> dict[str, str]:
    """Return the headers of every answer, but for those that it sets itself, and its request id."""
    if is_https:
        return {**_HEADERS, "Strict-Transport-Security": _STRICT_TRANSPORT_SECURITY}
    return dict(_HEADERS)


class HeadersOfEveryAnswer:
    """The same headers, encoded once for the process. An answer may have set some itself."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = encoded(headers)
        self._names = frozenset(name for name, _ in self._headers)

    def complete(self, headers: EncodedHeaders) -> None:
        """Add them to the headers of an answer, which have lower-case names."""
        own = {name for name, _ in headers}
        if self._names.isdisjoint(own):
            headers += self._headers
        else:
            headers += [header for header in self._headers if header[0] not in own]


def encoded(headers: Mapping[str, str]) -> EncodedHeaders:
    """Return headers as ASGI has them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def headers_of_refusal(*, is_https: bool) -> dict[str, str]:
    """Return the headers of an answer to a request that never reaches the application."""
    return {**headers_of_every_answer(is_https=is_https), REQUEST_ID_HEADER: observed_request_id()}


def headers_of_page(nonce: str, *, is_https: bool, reports_path: str) -> dict[str, str]:
    """Return the additional headers of a page whose scripts and styles carry `nonce`.

    The browser reports violations of its policy to `reports_path`.
    Imported modules inherit the nonce of their script (HTML, "descendant script fetch options").
    Over https a browser uses the Reporting API, which is for https only, and ignores report-uri.
    """
    policy = {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonce}'",
        "style-src": f"'nonce-{nonce}'",
        "img-src": "'self' data:",  # Pico CSS draws its icons by data: images
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        # No script may make HTML, or another script, of text.
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
        "report-uri": reports_path,
    }
    headers = {}
    if is_https:
        policy["report-to"] = _REPORTING_GROUP
        headers["Reporting-Endpoints"] = f'{_REPORTING_GROUP}="{reports_path}"'
    headers["Content-Security-Policy"] = "; ".join(map(" ".join, policy.items()))
    return headers


def with_retry_after(response: Response, error: AppError | None) -> Response:
    """Return the answer, with a Retry-After header if the error has a time."""
    if error is not None and error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def say_when_to_try_again(response: Response) -> None:
    """Give every 429 and 503 a Retry-After (RFC 9110, section 10.2.3), if it has none yet."""
    if response.status_code in TRY_AGAIN_LATER:
        response.headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))


def csp_nonce() -> str:
    """Return the nonce of this answer; the call marks the answer as a page."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(_NONCE_BYTES)
    return cast(str, g.csp_nonce)
