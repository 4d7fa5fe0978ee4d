"""Quart's session interface: opens the session from its cookies, verifies it and saves it."""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from quart import Quart
from quart.sessions import SessionInterface, SessionMixin
from quart.wrappers import Response
from quart.wrappers.base import BaseRequestWebsocket
from werkzeug.wrappers import Response as WerkzeugResponse

from quart_app.session.claims import Claims
from quart_app.session.cookie_header import joined_cookie_header
from quart_app.session.cookies import TOO_MANY_COOKIES, CookieFormat, SignedCookies, Verified
from quart_app.session.session import Session

LARGEST_COOKIE_BYTES: Final = 4096  # RFC 6265 section 6.1: what every browser keeps
_FOR_CACHES: Final = frozenset({"vary", "cache-control"})
# The verdict on (sid, user_id, epoch, created_at): True while nothing has ended the session, None
# while the revocation list is stale. It is asked for at every request and never remembered.
IsAlive = Callable[[str, Any, int, datetime], bool | None]


def always_alive(_sid: str, _user_id: Any, _epoch: int, _created_at: datetime) -> bool:
    """Give the verdict of an empty revocation list."""
    return True


class SessionTooLarge(ValueError):  # noqa: N818 named for the fact
    """A handler put more into the session than a browser keeps; no cookie was set."""


class RevocableSessionInterface(SessionInterface):
    """Opens and saves sessions as `app.session_interface`.

    Keys and the cookie's attributes are the application's, by the names that Quart documents:
    `secret_key`, SECRET_KEY_FALLBACKS, SESSION_COOKIE_NAME, _DOMAIN, _PATH, _HTTPONLY, _SECURE,
    _SAMESITE and _PARTITIONED, APPLICATION_ROOT, PERMANENT_SESSION_LIFETIME. `cookie_format` is
    completed by them. Limits are applied at every request, so shortening one ends sessions.
    """

    session_class = Session

    def __init__(
        self,
        cookie_format: CookieFormat | None = None,
        *,
        is_alive: IsAlive = always_alive,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._format = cookie_format or CookieFormat()
        self._is_alive = is_alive
        self._clock = clock  # POSIX seconds: to make a datetime of each costs four times as much
        self._made_for: tuple[Quart, object] | None = None
        self._cookies: SignedCookies | None = None

    async def open_session(self, app: Quart, request: BaseRequestWebsocket) -> Session | None:
        """Return the session of the request's cookies, else an empty one.

        None, and so Quart's null session, where the application has no secret key. Raises nothing.
        """
        header = joined_cookie_header(request.scope["headers"])
        if not header and "Cookie" in request.headers:  # added after the server parsed the request
            header = "; ".join(request.headers.getlist("Cookie")).encode("latin-1", "replace")
        return self.session_in(header, app)

    def session_in(self, header: bytes, app: Quart) -> Session | None:
        """Return the session of a Cookie header, as `open_session` does for a request.

        It needs no request of Quart's, so an answer that is made before Quart has the same verdict.
        """
        # `is` and no helper: this runs for every request.
        if self._made_for is None or self._made_for[1] is not app.config["SECRET_KEY"]:
            self._prepare(app)
        cookies = self._cookies
        if cookies is None:
            return None
        verified = cookies.read(header) if header else None
        if verified is None:
            return Session(self)
        now = self._clock()
        if verified.others:
            verified = self._chosen(verified, now)
        claims = verified.claims
        if not verified.not_before <= now < verified.not_after:
            session = Session(self, presented=verified.presented)
            session.has_too_many_cookies = verified is TOO_MANY_COOKIES
            return session
        if claims is not None:
            is_alive = self.verdict(claims)
            if not is_alive:
                session = Session(self, presented=verified.presented)
                session.is_unverifiable = is_alive is None
                return session
        payload = verified.payload if verified.is_flat else copy.deepcopy(verified.payload)
        # By position: keywords cost 0.3 µs, here alone.
        return Session(self, payload, claims, verified.presented, now >= verified.renewal_due)

    def _chosen(self, first: Verified, now: float) -> Verified:
        """Return which of several session cookies counts: the first whose login has not ended.

        Without such a login it is the first cookie within its time that is no login, else `first`.
        """
        in_time = [
            each for each in (first, *first.others) if each.not_before <= now < each.not_after
        ]
        for each in in_time:
            if each.claims is not None and self.verdict(each.claims) is not False:
                return each
        return next((each for each in in_time if each.claims is None), first)

    def verdict(self, claims: Claims) -> bool | None:
        """Return whether the session is alive; None while the revocation list is stale."""
        return self._is_alive(claims.sid, claims.user_id, claims.epoch, claims.created_at)

    def claims_of(self, payload: Mapping[str, Any]) -> Claims | None:
        """Return the claims that the next request would read from this payload."""
        assert self._cookies is not None  # noqa: S101 it has opened the session that asks
        return self._cookies.claims_of(payload)

    def renewed(self, claims: Claims) -> Claims:
        """Return the claims with activity at this moment."""
        assert self._cookies is not None  # noqa: S101 it has opened the session that asks
        now = datetime.fromtimestamp(self._clock(), UTC)
        idle = self._cookies.limits[claims.remember].idle
        return replace(claims, last_activity=now, idle_expires_at=now + idle)

    async def save_session(
        self, app: Quart, session: SessionMixin, response: Response | WerkzeugResponse | None
    ) -> None:
        """Set, delete or leave the cookies, and tell caches what they may do with the response."""
        if response is None:
            if session.modified:
                app.logger.error(
                    "A WebSocket handler changed the session. The change is lost: no cookie can"
                    " be set after the handshake."
                )
            return
        own = session if isinstance(session, Session) else None
        if session.accessed or session.modified:
            is_changed = session.modified or (own is not None and own.is_renewed)
            is_signed_in = own is not None and bool(own.presented)
            _tell_caches(response, is_changed=is_changed, is_signed_in=is_signed_in)
        if not (session.modified or (own is not None and own.is_renewed)):
            return
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return  # the view failed: nothing that it did to the session counts
        if own is not None and own.is_unverifiable:
            return  # the cookie may be good: it stays as it is
        self._prepare(app)
        claims = own.claims if own is not None else self.claims_of(session)
        # Asked again: a session that ended while the response was made must not come back with it.
        # While the list is stale the cookie is set, and judged when it comes back.
        if claims and self.verdict(claims) is False:
            return
        if session.modified:  # the session cookie holds `last_activity`, too
            self._save(app, session, claims, response)
        elif claims is not None:
            self._save_activity(app, claims, response)

    def _prepare(self, app: Quart) -> None:
        """Make what signs and verifies, for the application's present keys."""
        secret_key = app.config["SECRET_KEY"]
        if self._made_for is not None and self._made_for == (app, secret_key):
            return
        fallbacks = app.config.get("SECRET_KEY_FALLBACKS") or []
        if isinstance(fallbacks, str | bytes):
            raise TypeError("SECRET_KEY_FALLBACKS is a list of keys, not one key.")
        self._made_for, self._cookies = (app, secret_key), None
        if secret_key:
            self._cookies = SignedCookies(
                [secret_key, *fallbacks],
                replace(
                    self._format,
                    session_name=self.get_cookie_name(app),
                    permanent_lifetime=app.permanent_session_lifetime,
                ),
            )

    def _save(
        self,
        app: Quart,
        session: SessionMixin,
        claims: Claims | None,
        response: Response | WerkzeugResponse,
    ) -> None:
        assert self._cookies is not None  # noqa: S101 a null session is never saved
        cookie_format = self._cookies.format
        if not session:
            # The activity cookie first: curl 7.88 else keeps the dead session cookie.
            for name in (cookie_format.activity_name, cookie_format.session_name):
                response.delete_cookie(name, **self._cookie_attributes(app))
            return
        value = self._cookies.session_value(session)
        if len(cookie_format.session_name) + 1 + len(value) > LARGEST_COOKIE_BYTES:
            raise SessionTooLarge(f"the session makes a cookie of {len(value)} bytes")
        if claims is None:
            expires = self.get_expiration_time(app, session)
        else:
            expires = claims.expires_at if claims.remember else None
        self._set_cookie(app, response, cookie_format.session_name, value, expires)

    def _save_activity(
        self, app: Quart, claims: Claims, response: Response | WerkzeugResponse
    ) -> None:
        assert self._cookies is not None  # noqa: S101 it has opened the session
        value = self._cookies.activity_value(claims)
        expires = claims.expires_at if claims.remember else None
        self._set_cookie(app, response, self._cookies.format.activity_name, value, expires)

    def _set_cookie(
        self,
        app: Quart,
        response: Response | WerkzeugResponse,
        name: str,
        value: str,
        expires: datetime | None,
    ) -> None:
        max_age = None if expires is None else max(0, int(expires.timestamp() - self._clock()))
        response.set_cookie(name, value, max_age=max_age, **self._cookie_attributes(app))

    def _cookie_attributes(self, app: Quart) -> dict[str, Any]:
        return {
            "domain": self.get_cookie_domain(app),
            "path": self.get_cookie_path(app),
            "secure": self.get_cookie_secure(app),
            "httponly": self.get_cookie_httponly(app),
            "samesite": self.get_cookie_samesite(app),
            "partitioned": self.get_cookie_partitioned(app),
        }


def _tell_caches(
    response: Response | WerkzeugResponse, *, is_changed: bool, is_signed_in: bool
) -> None:
    """Let no cache keep an answer for another session.

    A handler may say `private`: the browser then keeps the answer, but because of Vary shows it
    only to the same session. An answer that sets a session's cookie is never kept.
    """
    headers = response.headers
    no_store = is_changed or is_signed_in
    # One pass, then `add`: usually neither is there, and to look for one by name costs more.
    if _FOR_CACHES.isdisjoint([name.lower() for name, _ in headers]):
        headers.add("Vary", "Cookie")
        if no_store:
            headers.add("Cache-Control", "no-store")
        return
    vary = ", ".join(headers.getlist("Vary"))
    if not {"cookie", "*"} & {name.strip().lower() for name in vary.split(",")}:
        headers["Vary"] = f"{vary}, Cookie" if vary else "Cookie"
    own = {each.strip().lower() for each in headers.get("Cache-Control", "").split(",")}
    if no_store and (is_changed or "private" not in own):
        headers["Cache-Control"] = "no-store"
