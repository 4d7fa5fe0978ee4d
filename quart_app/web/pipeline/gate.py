"""The checks of every request (size, origin, caller), and the headers of every answer."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, cast

from quart import Quart, current_app, g
from quart import request as current_request
from quart.wrappers import Request, Response
from werkzeug.exceptions import NotFound, RequestEntityTooLarge
from werkzeug.routing import IntegerConverter

from quart_app.errors import InvalidInput, NotLoggedIn, Unavailable
from quart_app.model import LARGEST_ID, AuditEvent
from quart_app.services import Services
from quart_app.services.caller import Caller, DeviceRegistration
from quart_app.session import (
    Claims,
    SessionRef,
    has_too_many_session_cookies,
    is_activity,
    is_answered_when_stale,
    is_session_unverifiable,
    presented_sessions,
    recheck_session,
    renew_session,
    validate_session,
)
from quart_app.web.pipeline.access import Mark, is_marked
from quart_app.web.pipeline.claims import current_connection_id
from quart_app.web.pipeline.compression import compress_page
from quart_app.web.pipeline.device_cookie import DeviceCookie
from quart_app.web.pipeline.headers import (
    CSP_REPORTS_PATH,
    csp_nonce,
    headers_of_page,
    say_when_to_try_again,
)
from quart_app.web.pipeline.origins import Origin, origin_of
from quart_app.web.pipeline.problems import is_api
from quart_app.web.pipeline.request_errors import (
    BodyTooLarge,
    CrossSite,
    PlatformChanged,
    TooManyCookies,
    UnsupportedBody,
    UserChanged,
)
from quart_app.web.pipeline.request_ids import REQUEST_ID_HEADER, request_id
from quart_app.web.pipeline.streaming import end_with_session

LARGEST_BODY_BYTES: Final = 64 * 1024
# Forms are smaller, and to parse one takes the event loop's time.
_LARGEST_FORM_BYTES: Final = 24 * 1024
_MOST_FORM_FIELDS: Final = 100
# An open page sends this header with requests that no user made: they are no activity.
UNATTENDED: Final = "X-Unattended"
_BODY_HEADERS: Final = frozenset({b"content-type", b"content-length", b"transfer-encoding"})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
UNVERIFIABLE: Final = (
    "Your session can't be checked at the moment. You stay logged in. Please try again."
)
NO_PLATFORM: Final = "none"  # the value that a request sends if it has no current account
_AN_ID: Final = re.compile(r"[0-9]{1,19}")  # int() refuses thousands of digits
ID: Final = "id"  # the name of IdConverter in routes


class IdConverter(IntegerConverter):
    """An id in a route. One that no database could hold is not found, whatever the method.

    (With `int(max=…)` the router would answer some methods with 405.)
    """

    regex = r"[0-9]+"

    def to_python(self, value: str) -> int:
        """Return it as a number."""
        if not _AN_ID.fullmatch(value) or int(value) > LARGEST_ID:
            raise NotFound
        return int(value)


class Gate:
    """The functions that Quart calls before and after each view."""

    def __init__(self, app: Quart, *, is_https: bool, public_url: str) -> None:
        self._views = app.view_functions
        self._events = cast(Services, app.extensions["quart_app"]).events
        self._is_https, self._public_origin = is_https, origin_of(public_url)

    async def enter(self) -> None:
        """Refuse a request, or let it pass. Raises AppError."""
        # The request itself: each use of Quart's proxy would look it up.
        request: Request = current_request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 documented by Werkzeug for just this
        view = self._views.get(request.endpoint or "")
        if _may_have_body(request):
            refuse_multipart(request)
            await refuse_large_body(request)
            recheck_session()  # the body may have been long in coming
        refuse_cross_site(request, self._public_origin)
        if view is None or is_marked(Mark.PUBLIC, view):
            refuse_unverifiable(request)
            return
        claims = validate_session()
        if claims is None:
            refuse_unverifiable(request)
            raise NotLoggedIn
        g.claims = claims
        if is_activity(view) and UNATTENDED not in request.headers:
            renew_session(at_once=is_marked(Mark.RENEWS_AT_ONCE, view))
            claims = required_claims()
        self._events.note_activity(claims.sid, claims.idle_expires_at)
        if request.method not in _SAFE_METHODS:
            await refuse_other_user(request, g.claims)
            if not is_marked(Mark.FOR_NO_ACCOUNT, view):
                await refuse_other_platform(request, g.claims)

    async def leave(self, response: Response) -> Response:
        """Complete the headers of an answer, and let its body end with the session."""
        is_page = "csp_nonce" in g
        if is_page:
            for name, value in headers_of_page(
                g.csp_nonce,
                is_https=self._is_https,
                reports_path=f"{current_request.root_path}{CSP_REPORTS_PATH}",
            ).items():
                response.headers.setdefault(name, value)
        say_when_to_try_again(response)
        # The headers come first, so that the error for a failure below has all of them.
        response.headers[REQUEST_ID_HEADER] = request_id()
        if is_page:
            await compress_page(response)
        if "claims" in g:
            end_with_session(response, caller, self._events)
        if "known_devices" in g and response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            device_cookie().write(response, g.known_devices)
        return response


def install(app: Quart, *, is_https: bool, public_url: str) -> None:
    """Let every request of `app` pass the gate. The use cases of `app` come first."""
    gate = Gate(app, is_https=is_https, public_url=public_url)
    app.url_map.converters[ID] = IdConverter
    app.jinja_env.globals["csp_nonce"] = csp_nonce
    app.jinja_env.globals["current_connection_id"] = current_connection_id
    app.before_request(gate.enter)
    app.after_request(gate.leave)


def services() -> Services:
    """Return the use cases."""
    return cast(Services, current_app.extensions["quart_app"])


def now() -> datetime:
    """Return the time, by the clock that the application was given."""
    clock = cast(Callable[[], float], current_app.extensions["quart_app.clock"])
    return datetime.fromtimestamp(clock(), UTC)


def caller() -> Caller:
    """Return the caller of use cases for this request, which is made once.

    At a public endpoint it has no claims, even in a browser that is logged in: a login or a reset
    link concerns the user whose password or link it is.
    """
    if "caller" not in g:
        g.caller = Caller(
            claims=g.get("claims"),
            address=current_request.remote_addr,
            user_agent=current_request.headers.get("User-Agent"),
            request_id=request_id(),
            known_devices=device_cookie().known_devices(),
        )
    return cast(Caller, g.caller)


def required_claims() -> Claims:
    """Return the claims of this request's session. Raises NotLoggedIn."""
    claims = validate_session()
    if claims is None:
        raise NotLoggedIn
    return claims


def presented_session_refs() -> list[SessionRef]:
    """Return the sessions that a login in this browser replaces, or a logout ends.

    They come from all session cookies that verify, without those that have expired.
    """
    return [claims.ref for claims in presented_sessions() if claims.signed_expires_at > now()]


def device_cookie() -> DeviceCookie:
    """Return the object that writes and reads the device cookie."""
    return cast(DeviceCookie, current_app.extensions["quart_app.device_cookie"])


def remember_device(known: DeviceRegistration) -> None:
    """Let the answer make the browser known to a user who has just given their password there."""
    known_devices = dict(caller().known_devices)
    known_devices.pop(known.user_id, None)  # the last one comes last
    g.known_devices = known_devices | {known.user_id: known}


def refuse_unverifiable(request: Request) -> None:
    """Refuse requests that need a session while it is unclear which it is, or if it has ended.

    No session begins during that time either. Raises TooManyCookies, Unavailable.
    """
    if is_answered_when_stale():
        return
    if has_too_many_session_cookies():
        raise TooManyCookies
    if is_session_unverifiable():
        raise Unavailable(UNVERIFIABLE)
    if request.method not in _SAFE_METHODS and not services().revocations.is_fresh():
        raise Unavailable


def _may_have_body(request: Request) -> bool:
    """Return whether to look for a body. Over HTTP/2, a body needs no such header."""
    return request.method not in _SAFE_METHODS or not _BODY_HEADERS.isdisjoint(
        [name.lower() for name, _ in request.scope["headers"]]
    )


def refuse_multipart(request: Request) -> None:
    """Refuse a body in parts before it is parsed, which costs much. Raises UnsupportedBody.

    No form here takes a file.
    """
    if request.mimetype.startswith("multipart/"):
        if is_api(request):
            raise UnsupportedBody
        raise UnsupportedBody("Send the form as application/x-www-form-urlencoded.")


async def refuse_large_body(request: Request) -> None:
    """Read the body, because a handler may not read it. Raises BodyTooLarge."""
    if (request.content_length or 0) > LARGEST_BODY_BYTES:
        raise BodyTooLarge
    # A GET with a body of unknown length is rare; the usual GET skips this.
    if request.method not in _SAFE_METHODS or "Transfer-Encoding" in request.headers:
        try:
            body = cast(bytes, await request.get_data())
        except RequestEntityTooLarge:
            raise BodyTooLarge from None
        is_form = request.mimetype == "application/x-www-form-urlencoded"
        if is_form and (len(body) > _LARGEST_FORM_BYTES or body.count(b"&") >= _MOST_FORM_FIELDS):
            raise BodyTooLarge


def refuse_cross_site(request: Request, public_origin: Origin | None) -> None:
    """Refuse requests that another site made a browser send. Raises CrossSite.

    Browsers send Sec-Fetch-Site (Fetch Metadata, W3C) over https. Over http, and before 2023, they
    send only Origin. A client that sends neither is not a browser, so it does not attach cookies of
    its own accord.

    The site's own origin is the request's, or the one of PUBLIC_URL: a proxy may not pass on the
    scheme or the port that the browser used.
    """
    if request.method in _SAFE_METHODS:
        if "Access-Control-Request-Method" in request.headers:  # a preflight: CORS is for nobody
            raise _cross_site()
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        if site not in {"same-origin", "none"}:
            raise _cross_site()
        return
    if "Origin" not in request.headers:
        return
    origin = origin_of(request.headers["Origin"])
    own_origins = {public_origin, origin_of(f"{request.scheme}://{request.host}")}
    if origin is None or origin not in own_origins:
        raise _cross_site()


def _cross_site() -> CrossSite:
    claims = validate_session()
    user_id = claims.user_id if claims else None
    services().audit.count(AuditEvent.REFUSED_CROSS_SITE, caller(), user_id=user_id)
    return CrossSite()


async def refuse_other_user(request: Request, claims: Claims) -> None:
    """Refuse the form of another user's page. Raises UserChanged.

    This happens if two people use one browser, and the page was opened before the second logged in.
    """
    if is_api(request):
        return
    if (await request.form).get("user_id", str(claims.user_id)) != str(claims.user_id):
        raise UserChanged


async def refuse_other_platform(request: Request, claims: Claims) -> None:
    """Refuse a request made for another connection than the session's. Raises PlatformChanged."""
    given = request.headers.get("X-Platform-Connection-Id")
    if given is None and not is_api(request):  # there it would eat a body that is no JSON
        given = (await request.form).get("platform_connection_id")
    if given is None:
        return
    if given != NO_PLATFORM and not _AN_ID.fullmatch(given):
        raise InvalidInput("This must be the id of an account.", field="platform_connection_id")
    platform_connection_id = None if given == NO_PLATFORM else int(given)
    if platform_connection_id != current_connection_id(claims):
        raise PlatformChanged
