"""The session's way through a request: opened from its cookies, judged, and saved to the answer."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Literal

from quart import Quart
from quart.sessions import SessionInterface, SessionMixin
from quart.wrappers import Response
from quart.wrappers.base import BaseRequestWebsocket
from werkzeug.wrappers import Response as WerkzeugResponse

from quart_app.web.pipeline.session import Limits, Login, Session
from quart_app.web.pipeline.session_cookie import TOO_MANY_COOKIES, SignedCookies, Verified

LARGEST_COOKIE_BYTES = 4096  # RFC 6265 section 6.1: what every browser keeps
_FOR_CACHES = frozenset({"vary", "cache-control"})
# The verdict on (sid, user_id, epoch, created_at): whether nothing has ended it, or None where that
# can't be told just now. It is asked for at every request and never remembered.
IsAlive = Callable[[str, int, int, datetime], bool | None]


class SessionTooLarge(ValueError):  # noqa: N818 named for the fact
    """A handler put more into the session than a browser keeps; no cookie was set."""


class SessionCookies(SessionInterface):
    """Opens and saves the session as `app.session_interface`; for its keys see SignedCookies.

    Limits are applied at every request, so that shortening a setting ends sessions.
    """

    def __init__(
        self,
        *,
        keys: Sequence[str],
        digest: Literal["sha1", "sha256"],
        cookie_name: str,
        secure: bool,
        limits: Limits,
        remember_limits: Limits,
        renewal: timedelta,
        is_alive: IsAlive,
        clock: Callable[[], float],
    ) -> None:
        self.cookie_name = cookie_name
        self.activity_cookie_name = f"{cookie_name}_activity"
        self._cookies = SignedCookies(
            keys=keys,
            digest=digest,
            session_name=self.cookie_name,
            activity_name=self.activity_cookie_name,
            limits=limits,
            remember_limits=remember_limits,
            renewal=renewal,
        )
        self._secure = secure
        self._is_alive = is_alive
        self._clock = clock  # POSIX seconds: to make a datetime of each costs four times as much

    async def open_session(self, app: Quart, request: BaseRequestWebsocket) -> Session:
        """Return the session of the request's cookies, else an empty one. Never raises."""
        verified = self._cookies.read(request.scope["headers"])
        if verified is None:
            return Session(self)
        now = self._clock()
        while not verified.not_before <= now < verified.not_after:
            if not verified.several:
                session = Session(self, presented=verified.presented)
                session.has_too_many_cookies = verified is TOO_MANY_COOKIES
                return session
            verified = self._chosen(verified.several, now)
        login = verified.login
        if login is not None:
            is_alive = self.verdict(login)
            if not is_alive:
                session = Session(self, presented=verified.presented)
                session.is_undecided = is_alive is None
                return session
        payload = verified.payload if verified.is_flat else copy.deepcopy(verified.payload)
        # By position: keywords cost 0.3 µs, here alone.
        return Session(self, payload, login, verified.presented, now >= verified.renewal_due)

    def _chosen(self, several: Sequence[Verified], now: float) -> Verified:
        """Return which of several session cookies counts: the first whose login has not ended.

        Where there is no such login, the first cookie within its time that is no login; else the
        first of all.
        """
        in_time = [each for each in several if each.not_before <= now < each.not_after]
        for each in in_time:
            if each.login is not None and self.verdict(each.login) is not False:
                return each
        return next((each for each in in_time if each.login is None), several[0])

    def verdict(self, login: Login) -> bool | None:
        """Tell whether nothing has ended it; None where that can't be told just now."""
        return self._is_alive(login.sid, login.user_id, login.epoch, login.created_at)

    def login_of(self, payload: Mapping[str, Any]) -> Login | None:
        """Return the login that the next request would read from this payload."""
        return self._cookies.login_of(payload)

    def renewed(self, login: Login) -> Login:
        """Return the login as it is with activity just now."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        idle = self._cookies.limits[login.remember].idle
        return replace(login, last_activity=now, idle_expires_at=now + idle)

    async def save_session(
        self, app: Quart, session: SessionMixin, response: Response | WerkzeugResponse | None
    ) -> None:
        """Set, delete or leave the cookies, and say what caches may do with the answer."""
        if response is None or not isinstance(session, Session):
            return
        if session.accessed or session.modified:
            _tell_caches(response, session.modified or bool(session.presented))
        if not (session.modified or session.is_renewed):
            return
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return  # the view failed: nothing of what it did to the session counts
        if session.is_undecided:
            return  # the cookie may be good: it stays as it is
        login = session.login
        # Asked again: what ended while the answer was made must not come back with it. Where that
        # can't be told any more the cookie is set, and judged when it comes back.
        if login and self.verdict(login) is False:
            return
        if session.modified:  # which carries `last_activity`, too
            self._save(app, session, login, response)
        elif login is not None:
            self._save_activity(login, response)

    def _save(
        self,
        app: Quart,
        session: Session,
        login: Login | None,
        response: Response | WerkzeugResponse,
    ) -> None:
        if not session:
            for name in (self.cookie_name, self.activity_cookie_name):
                response.delete_cookie(name, secure=self._secure, httponly=True, samesite="Lax")
            return
        value = self._cookies.session_value(session)
        if len(self.cookie_name) + 1 + len(value) > LARGEST_COOKIE_BYTES:
            raise SessionTooLarge(f"the session makes a cookie of {len(value)} bytes")
        if login is None:
            expires = self.get_expiration_time(app, session)
        else:
            expires = login.expires_at if login.remember else None
        self._set_cookie(response, self.cookie_name, value, expires)

    def _save_activity(self, login: Login, response: Response | WerkzeugResponse) -> None:
        value = self._cookies.activity_value(login)
        expires = login.expires_at if login.remember else None
        self._set_cookie(response, self.activity_cookie_name, value, expires)

    def _set_cookie(
        self,
        response: Response | WerkzeugResponse,
        name: str,
        value: str,
        expires: datetime | None,
    ) -> None:
        response.set_cookie(
            name,
            value,
            max_age=None if expires is None else max(0, int(expires.timestamp() - self._clock())),
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )


def _tell_caches(response: Response | WerkzeugResponse, no_store: bool) -> None:  # noqa: FBT001
    headers = response.headers
    # One pass, then `add`: as a rule neither is there, and to look for one by name is dearer.
    if _FOR_CACHES.isdisjoint([name.lower() for name, _ in headers]):
        headers.add("Vary", "Cookie")
        if no_store:
            headers.add("Cache-Control", "no-store")
        return
    vary = ", ".join(headers.getlist("Vary"))
    if not {"cookie", "*"} & {name.strip().lower() for name in vary.split(",")}:
        headers["Vary"] = f"{vary}, Cookie" if vary else "Cookie"
    if no_store:
        headers["Cache-Control"] = "no-store"
