"""What the session's two cookies say: signed in Flask's format, verified once, remembered.

The session cookie is Flask's own (itsdangerous URLSafeTimedSerializer, salt "cookie-session",
tagged JSON). Beside it stands the activity cookie, (sid, time), which moves `last_activity`
without carrying the session back: an answer that only tells of activity can't undo a switch.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import inf
from typing import Any, Final, Literal, TypeGuard

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from quart.sessions import session_json_serializer

from quart_app.session.claims import CLOCK_TOLERANCE, is_session_id
from quart_app.web.pipeline.cookie_header import MOST_COOKIES_OF_A_NAME, cookies_named
from quart_app.web.pipeline.session import LOGIN_KEYS, Limits, Login, timestamp

SESSION_SALT = "cookie-session"  # Flask's, so that a Flask application with the key can read it
ACTIVITY_SALT = "quart_app-activity"
_REMEMBERED_HEADERS = 4096
_LONGEST_REMEMBERED_HEADER = 2048  # bytes; ours are some 600
_LARGEST_ID = 2**31 - 1  # of an INTEGER in PostgreSQL
_IMMUTABLE = (str, int, float, type(None))
_NO_ACTIVITIES: Mapping[str, datetime] = {}
_DIGESTS: dict[str, Callable[..., Any]] = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}


class _NotOurs(Exception):  # noqa: N818
    """No cookie of this Cookie header verifies. An exception, so that the LRU does not keep it."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a session cookie says, its signature verified. Times and verdict are for each request.

    It says so from `not_before`, for none of the times in it may lie ahead, until `not_after`.
    """

    payload: Mapping[str, Any]
    login: Login | None
    # POSIX seconds, as the clock tells them.
    not_before: float
    not_after: float
    renewal_due: float  # from when activity moves `last_activity`
    is_flat: bool  # no nested value that a handler could change under the next request's feet
    # The logins of all session cookies in the same header that verify, in the header's order.
    presented: tuple[Login, ...] = ()
    # For a header with several such cookies, each of them. It is then never within its own time, so
    # that the usual header costs no look at this.
    several: tuple["Verified", ...] = ()


_NEVER: Final = Verified(
    payload={}, login=None, not_before=inf, not_after=-inf, renewal_due=inf, is_flat=True
)
# What is read from a header with more session cookies than are looked at.
TOO_MANY_COOKIES: Final = replace(_NEVER)


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
        """Return the session cookie that verifies; None where none does.

        `headers` are a request's, their names in lower case. Several such cookies are returned in
        `several`. TOO_MANY_COOKIES is returned for more than MOST_COOKIES_OF_A_NAME session
        cookies: to verify all would cost too much, and a logout that overlooks one would leave its
        session alive.
        """
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
        values = cookies_named(header, self._session_name)
        if len(values) > MOST_COOKIES_OF_A_NAME:
            return TOO_MANY_COOKIES
        activities = self._activities_in(header)
        found = [each for value in values if (each := self._verified_cookie(value, activities))]
        if not found:
            raise _NotOurs
        presented = tuple(each.login for each in found if each.login is not None)
        several = tuple(replace(each, presented=presented) for each in found)
        return several[0] if len(several) == 1 else replace(_NEVER, several=several)

    def _verified_cookie(self, value: str, activities: Mapping[str, datetime]) -> Verified | None:
        if not self._sessions.is_signed(value):
            return None
        try:
            payload, signed_at = self._sessions.loads(value, return_timestamp=True)
            if not isinstance(payload, dict):
                return None
            login = self.login_of(payload, activities)
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
            return None

    def login_of(
        self, payload: Mapping[str, Any], activities: Mapping[str, datetime] = _NO_ACTIVITIES
    ) -> Login | None:
        """Return the login of a signed payload; None where it is not one, whoever signed it.

        `activities` has when sessions were last active, by their sid.
        """
        user_id, platform_id = payload.get("user_id"), payload.get("platform_connection_id")
        sid, epoch = payload.get("sid"), payload.get("epoch")
        remember = payload.get("remember")
        if payload.get("authenticated") is not True or not isinstance(remember, bool):
            return None
        if type(epoch) is not int or not _is_id(user_id):
            return None
        if platform_id is not None and not _is_id(platform_id):
            return None
        if not isinstance(sid, str) or not is_session_id(sid):
            return None
        created_at, last_activity, expires_at = (
            _moment(payload.get(key)) for key in ("created_at", "last_activity", "expires_at")
        )
        if created_at is None or last_activity is None or expires_at is None:
            return None
        limits = self.limits[remember]
        if activity := activities.get(sid):
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

    def _activities_in(self, header: bytes) -> dict[str, datetime]:
        """Return by sid when sessions were last active, by all activity cookies that verify.

        Of more than MOST_COOKIES_OF_A_NAME the rest is overlooked: that can only shorten a session.
        """
        latest: dict[str, datetime] = {}
        for value in filter(self._activities.is_signed, cookies_named(header, self._activity_name)):
            try:
                activity = self._activities.loads(value)
            except (BadData, ValueError, RecursionError):
                continue
            match activity:
                case [str(sid), str(text)] if moment := _moment(text):
                    latest[sid] = max(moment, latest.get(sid, moment))
        return latest


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

    def is_signed(self, value: str) -> bool:
        """Tell whether one of the keys signed it; `loads` takes five times as long to refuse it."""
        signed, _, signature = value.encode("ascii", "replace").rpartition(b".")
        return any(each.verify_signature(signed, signature) for each in self._signers)

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
