"""What the session's two cookies say: signed in Flask's format, verified once, remembered.

The session cookie is Flask's own (itsdangerous URLSafeTimedSerializer, salt "cookie-session",
tagged JSON). Beside it stands the activity cookie, (sid, time), which moves `last_activity`
without carrying the session back: an answer that only tells of activity can't undo a switch.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, TypeGuard

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from quart.sessions import session_json_serializer
from werkzeug.sansio.http import parse_cookie

from quart_app.web.session import LOGIN_KEYS, Limits, Login, timestamp

SESSION_SALT = "cookie-session"  # Flask's, so that a Flask application with the key can read it
ACTIVITY_SALT = "quart_app-activity"
# Clocks of two machines differ a little; what was made further ahead than this is refused.
CLOCK_TOLERANCE = timedelta(seconds=60)
_REMEMBERED_HEADERS = 4096
_LONGEST_REMEMBERED_HEADER = 2048  # bytes; ours are some 600
_LARGEST_ID = 2**31 - 1  # of an INTEGER in PostgreSQL
_IMMUTABLE = (str, int, float, type(None))
_SID = re.compile(r"[A-Za-z0-9_-]{22}")
_DIGESTS: dict[str, Callable[..., Any]] = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}


class _NotOurs(Exception):  # noqa: N818
    """No cookie of this Cookie header verifies. An exception, so that the LRU does not keep it."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a Cookie header says, its signatures verified. Times and verdict are for each request.

    It says so from `not_before`, for none of the times in it may lie ahead, until `not_after`.
    """

    payload: Mapping[str, Any]
    login: Login | None
    # POSIX seconds, as the clock tells them.
    not_before: float
    not_after: float
    renewal_due: float  # from when activity moves `last_activity`
    is_flat: bool  # no nested value that a handler could change under the next request's feet


class SignedCookies:
    """Makes and reads the values of both cookies.

    `keys` are newest first: the newest signs, all verify, by either digest. `limits` and
    `remember_limits` can only shorten what was signed.
    """

    def __init__(
        self,
        *,
        keys: Sequence[str],
        digest: Literal["sha1", "sha256"],
        session_name: str,
        activity_name: str,
        limits: Limits,
        remember_limits: Limits,
        renewal: timedelta,
    ) -> None:
        self._session_name, self._activity_name = session_name, activity_name
        self._needle = session_name.encode()
        self._sessions = _Serializer(keys, SESSION_SALT, digest)
        self._activities = _Serializer(keys, ACTIVITY_SALT, digest)
        self.limits = {False: limits, True: remember_limits}
        self._renewal = renewal
        self._longest = max(limits.absolute, remember_limits.absolute)
        self._remembered = lru_cache(_REMEMBERED_HEADERS)(self._verified)

    def session_value(self, payload: Mapping[str, Any]) -> str:
        """Return the session cookie's value."""
        return str(self._sessions.dumps(dict(payload)))

    def activity_value(self, login: Login) -> str:
        """Return the activity cookie's value."""
        return str(self._activities.dumps([login.sid, timestamp(login.last_activity)]))

    def read(self, headers: Iterable[tuple[bytes, bytes]]) -> Verified | None:
        """Return what a request's headers, names in lower case, say; None where nothing is ours."""
        header = b""
        for name, value in headers:
            if name == b"cookie":
                header = header + b"; " + value if header else value  # HTTP/2 may split it
        if not header:
            return None
        # Keyed on the whole header: to find one cookie in it costs as much as the rest together.
        verify = self._remembered if len(header) <= _LONGEST_REMEMBERED_HEADER else self._verified
        try:
            return verify(header)
        except _NotOurs:
            return None

    def _verified(self, header: bytes) -> Verified:
        """Verify the signatures of a Cookie header. Raises _NotOurs."""
        if self._needle not in header:  # looked for only here: what is remembered has it
            raise _NotOurs
        try:
            # What others set on this host need not be UTF-8.
            cookies = parse_cookie(header.decode("utf-8", "replace"))
            payload, signed_at = self._sessions.loads(
                cookies.get(self._session_name, ""), return_timestamp=True
            )
            if not isinstance(payload, dict):
                raise _NotOurs
            login = self.login_of(payload, cookies.get(self._activity_name))
            latest, ends = signed_at, [signed_at + self._longest]
            if login is None:
                payload = {key: value for key, value in payload.items() if key not in LOGIN_KEYS}
            else:
                payload["last_activity"] = timestamp(login.last_activity)
                latest = max(signed_at, login.created_at, login.last_activity)
                ends += [login.expires_at, login.idle_expires_at]
            return Verified(
                payload=payload,
                login=login,
                not_before=(latest - CLOCK_TOLERANCE).timestamp(),
                not_after=min(ends).timestamp(),
                renewal_due=(
                    (login.last_activity if login else signed_at) + self._renewal
                ).timestamp(),
                is_flat=all(isinstance(value, _IMMUTABLE) for value in payload.values()),
            )
        except (BadData, ValueError, OverflowError, RecursionError):
            raise _NotOurs from None

    def login_of(
        self, payload: Mapping[str, Any], activity_cookie: str | None = None
    ) -> Login | None:
        """Return the login of a signed payload; None where it is not one, whoever signed it."""
        user_id, platform_id = payload.get("user_id"), payload.get("platform_connection_id")
        sid, epoch = payload.get("sid"), payload.get("epoch")
        remember = payload.get("remember")
        if payload.get("authenticated") is not True or not isinstance(remember, bool):
            return None
        if type(epoch) is not int or not _is_id(user_id):
            return None
        if platform_id is not None and not _is_id(platform_id):
            return None
        if not isinstance(sid, str) or not _SID.fullmatch(sid):
            return None
        created_at, last_activity, expires_at = (
            _moment(payload.get(key)) for key in ("created_at", "last_activity", "expires_at")
        )
        if created_at is None or last_activity is None or expires_at is None:
            return None
        limits = self.limits[remember]
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
        if not cookie:
            return None
        try:
            activity = self._activities.loads(cookie)
        except (BadData, ValueError, RecursionError):
            return None
        match activity:
            case [str(whose), str(moment)] if whose == sid:
                return _moment(moment)
        return None


class _Serializer(URLSafeTimedSerializer):
    """Flask's format; signs by `digest` and the first key, and verifies by either and any of them.

    Signers are made once, their keys derived once: itsdangerous does both for each cookie.
    """

    def __init__(self, keys: Sequence[str], salt: str, digest: str) -> None:
        super().__init__(list(keys), salt=salt, serializer=session_json_serializer)
        others = [each for each in _DIGESTS if each != digest]
        self._signers = [_signer(keys, salt, _DIGESTS[each]) for each in (digest, *others)]

    def make_signer(self, salt: str | bytes | None = None) -> TimestampSigner:
        return self._signers[0]

    def iter_unsigners(self, salt: str | bytes | None = None) -> Iterator[TimestampSigner]:
        return iter(self._signers)


def _signer(keys: Sequence[str], salt: str, digest: Callable[..., Any]) -> TimestampSigner:
    derived = [hmac.digest(key.encode(), salt.encode(), digest) for key in keys]
    return TimestampSigner(
        list(reversed(derived)),  # itsdangerous wants the newest last
        salt=salt,
        key_derivation="none",
        digest_method=digest,
    )


def _is_id(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 < value <= _LARGEST_ID


def _moment(text: object) -> datetime | None:
    """Return the aware time of a cookie's timestamp; None where it is not one."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
