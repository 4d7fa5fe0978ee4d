"""The session's two cookies on the wire: signed in Flask's format, verified once, remembered.

The session cookie is Flask's own (itsdangerous URLSafeTimedSerializer, salt "cookie-session",
tagged JSON). The activity cookie beside it, (sid, time), moves `last_activity` without carrying the
session back, so a response that only records activity can't undo a change of the session.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from math import inf
from typing import Any, Final, Literal

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from quart.sessions import session_json_serializer

from quart_app.session.claims import (
    CLOCK_TOLERANCE,
    LOGIN_CLAIMS,
    ClaimCheck,
    Claims,
    SessionLimits,
    is_session_id,
    is_user_id,
    parse_timestamp,
    timestamp,
)
from quart_app.session.cookie_header import MOST_COOKIES_OF_A_NAME, cookies_named

SESSION_SALT: Final = "cookie-session"  # Flask's: a Flask application with the key can read it
ACTIVITY_SALT: Final = "quart_app-activity"
ACTIVITY_SUFFIX: Final = "_activity"
DEFAULT_LIMITS: Final = SessionLimits(timedelta(hours=8), timedelta(hours=24))
DEFAULT_REMEMBER_LIMITS: Final = SessionLimits(timedelta(days=30), timedelta(days=30))
DEFAULT_RENEWAL: Final = timedelta(seconds=60)
_REMEMBERED_HEADERS: Final = 4096
_LONGEST_REMEMBERED_HEADER: Final = 2048  # bytes; ours are some 600
_NO_ACTIVITIES: Final[Mapping[str, datetime]] = {}
_IMMUTABLE = (str, int, float, type(None))
_DIGESTS: Final[dict[str, Callable[..., Any]]] = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}

Digest = Literal["sha1", "sha256"]


class _NotOurs(Exception):  # noqa: N818
    """No cookie of this Cookie header verifies. An exception, so that the LRU does not keep it."""


@dataclass(frozen=True, kw_only=True)
class CookieFormat:
    """The cookies' names and claims, and how long they count.

    `limits` and `remember_limits` can only shorten what was signed. `extra_claims` are the
    application's own claims of a login: a name, and what its values must be. A cookie whose extra
    claim has another value is no login; it may be missing. `permanent_lifetime` is how long a
    session that is no login counts, as PERMANENT_SESSION_LIFETIME says.
    """

    session_name: str = "session"
    digest: Digest = "sha1"
    limits: SessionLimits = DEFAULT_LIMITS
    remember_limits: SessionLimits = DEFAULT_REMEMBER_LIMITS
    renewal: timedelta = DEFAULT_RENEWAL
    permanent_lifetime: timedelta = timedelta(days=31)
    extra_claims: Mapping[str, ClaimCheck] = field(default_factory=dict)
    is_user_id: ClaimCheck = is_user_id

    @property
    def activity_name(self) -> str:
        """The activity cookie's name."""
        return f"{self.session_name}{ACTIVITY_SUFFIX}"


@dataclass(frozen=True, slots=True)
class Verified:
    """A session cookie whose signature is verified.

    It says so from `not_before`, for none of its times may lie ahead, until `not_after`. Times and
    the verdict are looked at again for each request.
    """

    payload: Mapping[str, Any]
    claims: Claims | None
    # POSIX seconds, as the clock tells them.
    not_before: float
    not_after: float
    renewal_due: float  # from when activity moves `last_activity`
    is_flat: bool  # without a nested value that a handler could change for the next request
    # Of the whole Cookie header: the logins of all session cookies that verify, and the other
    # cookies that verify, in the header's order.
    presented: tuple[Claims, ...] = ()
    others: tuple["Verified", ...] = field(default=(), repr=False)


# A Cookie header with more session cookies than are looked at. It never counts.
TOO_MANY_COOKIES: Final = Verified(
    payload={}, claims=None, not_before=inf, not_after=-inf, renewal_due=inf, is_flat=True
)


class SignedCookies:
    """Makes and reads the values of both cookies.

    `keys` are newest first: the newest signs, all verify, by either digest.
    """

    def __init__(self, keys: Sequence[str | bytes], cookie_format: CookieFormat) -> None:
        self.format = cookie_format
        self._needle = cookie_format.session_name.encode()
        self._sessions = _Serializer(keys, SESSION_SALT, cookie_format.digest)
        self._activities = _Serializer(keys, ACTIVITY_SALT, cookie_format.digest)
        self.limits = {False: cookie_format.limits, True: cookie_format.remember_limits}
        self._longest = max(cookie_format.limits.absolute, cookie_format.remember_limits.absolute)
        self._login_claims = LOGIN_CLAIMS | cookie_format.extra_claims.keys()
        self._remembered = lru_cache(_REMEMBERED_HEADERS)(self._verified)

    def session_value(self, payload: Mapping[str, Any]) -> str:
        """Return the session cookie's value."""
        return str(self._sessions.dumps(dict(payload)))

    def activity_value(self, claims: Claims) -> str:
        """Return the activity cookie's value."""
        return str(self._activities.dumps([claims.sid, timestamp(claims.last_activity)]))

    def read(self, header: bytes) -> Verified | None:
        """Return the first session cookie that verifies, with the others; None where none does.

        Returns TOO_MANY_COOKIES for a Cookie header with more than MOST_COOKIES_OF_A_NAME session
        cookies: to verify them all would cost too much, and a logout that overlooks one would leave
        its session alive.
        """
        # Keyed on the whole header: to find one cookie in it costs as much as the rest together.
        verify = self._remembered if len(header) <= _LONGEST_REMEMBERED_HEADER else self._verified
        try:
            return verify(header)
        except _NotOurs:
            return None

    def _verified(self, header: bytes) -> Verified:
        """Verify the signatures of a Cookie header. Raises _NotOurs."""
        if self._needle not in header:
            raise _NotOurs
        values = cookies_named(header, self.format.session_name)
        if len(values) > MOST_COOKIES_OF_A_NAME:
            return TOO_MANY_COOKIES
        activities = self._activities_in(header)
        found = [each for value in values if (each := self._verified_cookie(value, activities))]
        if not found:
            raise _NotOurs
        presented = tuple(each.claims for each in found if each.claims is not None)
        first, *others = [replace(each, presented=presented) for each in found]
        return replace(first, others=tuple(others)) if others else first

    def _verified_cookie(self, value: str, activities: Mapping[str, datetime]) -> Verified | None:
        if not self._sessions.is_signed(value):
            return None
        try:
            payload, signed_at = self._sessions.loads(value, return_timestamp=True)
            if not isinstance(payload, dict):
                return None
            return self._checked(payload, signed_at, activities)
        except (BadData, ValueError, OverflowError, RecursionError):
            return None

    def _checked(
        self, payload: dict[str, Any], signed_at: datetime, activities: Mapping[str, datetime]
    ) -> Verified:
        claims = self.claims_of(payload, activities)
        if claims is None:
            payload = {k: value for k, value in payload.items() if k not in self._login_claims}
            latest, last_activity = signed_at, signed_at
            ends = [signed_at + self.format.permanent_lifetime]
        else:
            payload["last_activity"] = timestamp(claims.last_activity)
            last_activity = claims.last_activity
            latest = max(signed_at, claims.created_at, last_activity)
            ends = [signed_at + self._longest, claims.expires_at, claims.idle_expires_at]
        return Verified(
            payload=payload,
            claims=claims,
            not_before=(latest - CLOCK_TOLERANCE).timestamp(),
            not_after=min(ends).timestamp(),
            renewal_due=(last_activity + self.format.renewal).timestamp(),
            is_flat=all(isinstance(value, _IMMUTABLE) for value in payload.values()),
        )

    def claims_of(
        self, payload: Mapping[str, Any], activities: Mapping[str, datetime] = _NO_ACTIVITIES
    ) -> Claims | None:
        """Return the claims of a signed payload; None if it is not a login.

        `activities` has the times of the last activity, by session id.
        """
        user_id, sid, epoch = payload.get("user_id"), payload.get("sid"), payload.get("epoch")
        remember = payload.get("remember")
        if payload.get("authenticated") is not True or not isinstance(remember, bool):
            return None
        if type(epoch) is not int or not is_session_id(sid) or not self.format.is_user_id(user_id):
            return None
        extra = {name: payload[name] for name in self.format.extra_claims if name in payload}
        if not all(self.format.extra_claims[name](value) for name, value in extra.items()):
            return None
        created_at, last_activity, expires_at = (
            parse_timestamp(payload.get(key))
            for key in ("created_at", "last_activity", "expires_at")
        )
        if created_at is None or last_activity is None or expires_at is None:
            return None
        limits, sid = self.limits[remember], str(sid)
        if activity := activities.get(sid):
            last_activity = max(last_activity, activity)
        return Claims(
            user_id=user_id,
            sid=sid,
            epoch=epoch,
            created_at=created_at,
            last_activity=last_activity,
            remember=remember,
            expires_at=min(expires_at, created_at + limits.absolute),
            idle_expires_at=last_activity + limits.idle,
            signed_expires_at=expires_at,
            extra=extra,
        )

    def _activities_in(self, header: bytes) -> dict[str, datetime]:
        """Return the times of the last activity by session id, of all activity cookies.

        Beyond MOST_COOKIES_OF_A_NAME they are ignored: that can only shorten a session.
        """
        latest: dict[str, datetime] = {}
        values = cookies_named(header, self.format.activity_name)
        for value in filter(self._activities.is_signed, values):
            try:
                activity = self._activities.loads(value)
            except (BadData, ValueError, RecursionError):
                continue
            match activity:
                case [str(sid), str(text)] if moment := parse_timestamp(text):
                    latest[sid] = max(moment, latest.get(sid, moment))
        return latest


class _Serializer(URLSafeTimedSerializer):
    """Flask's format; signs by `digest` and the first key, verifies by either digest and any key.

    The signers and their derived keys are made once: itsdangerous makes them for each cookie.
    """

    def __init__(self, keys: Sequence[str | bytes], salt: str, digest: str) -> None:
        super().__init__(list(keys), salt=salt, serializer=session_json_serializer)  # type: ignore[arg-type]
        others = [each for each in _DIGESTS if each != digest]
        self._signers = [_signer(keys, salt, _DIGESTS[each]) for each in (digest, *others)]

    def is_signed(self, value: str) -> bool:
        """Return whether one of the keys signed it; `loads` takes five times as long to refuse."""
        signed, _, signature = value.encode("ascii", "replace").rpartition(b".")
        return any(each.verify_signature(signed, signature) for each in self._signers)

    def make_signer(self, salt: str | bytes | None = None) -> TimestampSigner:
        return self._signers[0]

    def iter_unsigners(self, salt: str | bytes | None = None) -> Iterator[TimestampSigner]:
        return iter(self._signers)


def _signer(keys: Sequence[str | bytes], salt: str, digest: Callable[..., Any]) -> TimestampSigner:
    derived = [
        hmac.digest(key.encode() if isinstance(key, str) else key, salt.encode(), digest)
        for key in keys
    ]
    return TimestampSigner(
        list(reversed(derived)),  # itsdangerous wants the newest last
        salt=salt,
        key_derivation="none",
        digest_method=digest,
    )
