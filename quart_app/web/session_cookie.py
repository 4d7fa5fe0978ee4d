"""The session's way over the wire: two signed cookies in Flask's format, the LRU and the limits.

The session cookie is Flask's own (itsdangerous URLSafeTimedSerializer, salt "cookie-session",
tagged JSON). Beside it stands the activity cookie, (sid, time), which moves `last_activity`
without carrying the session back: an answer that only tells of activity can't undo a switch.
"""

import copy
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Literal

from itsdangerous import BadData, URLSafeTimedSerializer
from quart import Quart
from quart.sessions import SessionInterface, SessionMixin, session_json_serializer
from quart.wrappers import Response
from quart.wrappers.base import BaseRequestWebsocket
from werkzeug.http import parse_cookie
from werkzeug.wrappers import Response as WerkzeugResponse

from quart_app.web.session import LOGIN_KEYS, Limits, Login, Session, timestamp

SESSION_SALT = "cookie-session"  # Flask's, so that a Flask application with the key can read it
ACTIVITY_SALT = "quart_app-activity"
# Clocks of two machines differ a little; what was made further ahead than this is refused.
CLOCK_TOLERANCE = timedelta(seconds=60)
LARGEST_COOKIE_BYTES = 4096  # RFC 6265 section 6.1: what every browser keeps
_REMEMBERED_HEADERS = 4096
_LONGEST_REMEMBERED_HEADER = 4096
_SID = re.compile(r"[A-Za-z0-9_-]{22}")
_DIGESTS: dict[str, Callable[..., Any]] = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}


class SessionTooLarge(ValueError):  # noqa: N818 named for the fact
    """A handler put more into the session than a browser keeps; no cookie was set."""


class _NotOurs(Exception):  # noqa: N818
    """No cookie of this Cookie header verifies. An exception, so that the LRU does not keep it."""


# The verdict on (sid, user_id, epoch, created_at): whether nothing has ended it, or None where that
# can't be told just now.
IsAlive = Callable[[str, int, int, datetime], bool | None]


@dataclass(frozen=True, slots=True)
class _Verified:
    """What a Cookie header holds, once its signatures are verified; limits are not yet."""

    payload: Mapping[str, Any]
    login: Login | None
    signed_at: datetime
    latest: datetime  # the latest of all times in it, none of which may lie ahead
    is_flat: bool  # no nested value that a handler could change under the next request's feet


class SessionCookies(SessionInterface):
    """Opens and saves the session as `app.session_interface`.

    `keys` are newest first: the newest signs, all verify, by either digest. `limits` and
    `remember_limits` are applied at every request, so that shortening a setting ends sessions.
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
        now: Callable[[], datetime],
    ) -> None:
        self.cookie_name = cookie_name
        self.activity_cookie_name = f"{cookie_name}_activity"
        self._sessions = _serializer(keys, SESSION_SALT, digest)
        self._activities = _serializer(keys, ACTIVITY_SALT, digest)
        self._secure = secure
        self._limits = {False: limits, True: remember_limits}
        self._renewal = renewal
        self._is_alive = is_alive
        self._now = now
        self._longest = max(limits.absolute, remember_limits.absolute)
        self._remembered = lru_cache(_REMEMBERED_HEADERS)(self._verified)

    async def open_session(self, app: Quart, request: BaseRequestWebsocket) -> Session:
        """Return the session of the request's cookies, else an empty one. Never raises."""
        header = "; ".join(
            value.decode("latin-1")
            for name, value in request.scope["headers"]
            if name.lower() == b"cookie"
        )
        if self.cookie_name not in header:
            return Session(self._login)
        verify = self._remembered if len(header) <= _LONGEST_REMEMBERED_HEADER else self._verified
        try:
            verified = verify(header)
        except _NotOurs:
            return Session(self._login)
        return self._judged(verified)

    def _judged(self, verified: _Verified) -> Session:
        """Return the session within its limits and not ended; else an empty one."""
        now, login = self._now(), verified.login
        if verified.latest > now + CLOCK_TOLERANCE or now >= verified.signed_at + self._longest:
            return Session(self._login)
        if login is not None:
            if now >= login.expires_at or now >= login.idle_expires_at:
                return Session(self._login, presented=login)
            is_alive = self._is_alive(login.sid, login.user_id, login.epoch, login.created_at)
            if not is_alive:
                session = Session(self._login, presented=login)
                session.is_undecided = is_alive is None
                return session
        payload = verified.payload
        own = dict(payload) if verified.is_flat else copy.deepcopy(dict(payload))
        return Session(self._login, own, login=login, presented=login)

    def _verified(self, header: str) -> _Verified:
        """Verify the signatures of a Cookie header. Raises _NotOurs."""
        cookies = parse_cookie(header)
        try:
            payload, signed_at = self._sessions.loads(
                cookies.get(self.cookie_name, ""), return_timestamp=True
            )
        except (BadData, ValueError, RecursionError):
            raise _NotOurs from None
        if not isinstance(payload, dict):
            raise _NotOurs
        login = self._login(payload, cookies.get(self.activity_cookie_name))
        if login is None:
            payload = {key: value for key, value in payload.items() if key not in LOGIN_KEYS}
            latest = signed_at
        else:
            payload["last_activity"] = timestamp(login.last_activity)
            latest = max(signed_at, login.created_at, login.last_activity)
        flat = all(isinstance(value, str | int | float | None) for value in payload.values())
        return _Verified(payload, login, signed_at, latest, flat)

    def _login(
        self, payload: Mapping[str, Any], activity_cookie: str | None = None
    ) -> Login | None:
        """Return the login of a signed payload; None where it is not one, whoever signed it."""
        user_id, platform_id = payload.get("user_id"), payload.get("platform_connection_id")
        sid, epoch = payload.get("sid"), payload.get("epoch")
        remember = payload.get("remember")
        if payload.get("authenticated") is not True or not isinstance(remember, bool):
            return None
        if type(user_id) is not int or type(epoch) is not int:
            return None
        if platform_id is not None and type(platform_id) is not int:
            return None
        if not isinstance(sid, str) or not _SID.fullmatch(sid):
            return None
        created_at, last_activity, expires_at = (
            _moment(payload.get(key)) for key in ("created_at", "last_activity", "expires_at")
        )
        if created_at is None or last_activity is None or expires_at is None:
            return None
        limits = self._limits[remember]
        if activity := self._activity(activity_cookie, sid):
            last_activity = max(last_activity, activity)
        return Login(
            user_id=user_id,
            platform_connection_id=platform_id,
            sid=sid,
            epoch=epoch,
            created_at=created_at,
            last_activity=last_activity,
            remember=remember,
            expires_at=min(expires_at, created_at + limits.absolute),
            idle_expires_at=last_activity + limits.idle,
            signed_expires_at=expires_at,
        )

    def _activity(self, cookie: str | None, sid: str) -> datetime | None:
        """Return when that session was last active, by an activity cookie that is its own."""
        try:
            activity = self._activities.loads(cookie or "")
        except (BadData, ValueError, RecursionError):
            return None
        match activity:
            case [str(whose), str(moment)] if whose == sid:
                return _moment(moment)
        return None

    async def save_session(
        self, app: Quart, session: SessionMixin, response: Response | WerkzeugResponse | None
    ) -> None:
        """Set, delete or leave the cookies, and say what caches may do with the answer."""
        if response is None or not isinstance(session, Session):
            return
        if session.accessed or session.modified:
            _vary_by_cookie(response)
            if session.presented or session.login or session.modified:
                response.headers["Cache-Control"] = "no-store"
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return  # the view failed: nothing of what it did to the session counts
        if session.is_undecided:
            return  # the cookie may be good: it stays as it is
        login = session.login
        # Asked again: what ended while the answer was made must not come back with it.
        if login and not self._is_alive(login.sid, login.user_id, login.epoch, login.created_at):
            return
        if session.modified:
            self._save(app, session, login, response)
        elif session.is_activity and login is not None:
            now = self._now()
            if now - login.last_activity >= self._renewal:
                self._save_activity(login, now, response)

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
        value = self._sessions.dumps(dict(session))
        if len(self.cookie_name) + 1 + len(value) > LARGEST_COOKIE_BYTES:
            raise SessionTooLarge(f"the session makes a cookie of {len(value)} bytes")
        if login is None:
            expires = self.get_expiration_time(app, session)
        else:
            expires = login.expires_at if login.remember else None
        self._set_cookie(response, self.cookie_name, str(value), expires)

    def _save_activity(
        self, login: Login, now: datetime, response: Response | WerkzeugResponse
    ) -> None:
        value = str(self._activities.dumps([login.sid, timestamp(now)]))
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
            max_age=None
            if expires is None
            else max(0, int((expires - self._now()).total_seconds())),
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )


def _serializer(keys: Sequence[str], salt: str, digest: str) -> URLSafeTimedSerializer:
    """Return a serializer that signs by `digest` and the first key, and verifies by any of them."""
    by_digest = {
        name: {"key_derivation": "hmac", "digest_method": method}
        for name, method in _DIGESTS.items()
    }
    signing = by_digest.pop(digest)
    return URLSafeTimedSerializer(
        list(reversed(keys)),  # itsdangerous wants the newest last
        salt=salt,
        serializer=session_json_serializer,
        signer_kwargs=signing,
        fallback_signers=list(by_digest.values()),
    )


def _moment(text: object) -> datetime | None:
    """Return the aware time of a cookie's timestamp; None where it is not one."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _vary_by_cookie(response: Response | WerkzeugResponse) -> None:
    vary = response.headers.get("Vary")
    if vary is None:
        response.headers["Vary"] = "Cookie"
    elif "cookie" not in vary.lower():
        response.headers["Vary"] = f"{vary}, Cookie"
