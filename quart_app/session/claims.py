"""What a session says: its claims, its limits, and how they are written into a cookie."""

import base64
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

# The clocks of two machines differ a little; a time further ahead than this is refused.
CLOCK_TOLERANCE: Final = timedelta(seconds=60)
LARGEST_BIG_ID: Final = 2**63 - 1  # of a BIGINT
LONGEST_USER_ID: Final = 255  # characters, of an id that is text
SESSION_ID_LENGTH: Final = 22  # 16 bytes as base64url without padding
_SESSION_ID_BYTES: Final = 16  # 128 bits from the system's generator (OWASP ASVS 5.0, 7.2.3)
_SESSION_ID: Final = re.compile(rf"[A-Za-z0-9_-]{{{SESSION_ID_LENGTH}}}")
_UTC_OFFSET: Final = "+00:00"

# The claims of a login. In a cookie that is no login, handlers never see them: another application
# that shares the key may sign them under rules of its own.
LOGIN_CLAIMS: Final = frozenset(
    {
        *("user_id", "authenticated", "sid", "epoch"),
        *("created_at", "last_activity", "expires_at", "remember"),
    }
)

# Tells whether the value of an extra claim, or of a user id, is one that the application signs.
ClaimCheck = Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a login lasts: without activity (`idle`), and in all (`absolute`)."""

    idle: timedelta
    absolute: timedelta


@dataclass(frozen=True, kw_only=True)
class SessionRef:
    """Names a session that is to end, which may have ended already.

    Its cookie also says whose it is, its epoch, and when it began; a list of devices may not.
    """

    sid: str
    expires_at: datetime
    user_id: Any = None
    epoch: int | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """A verified login. It ends at `expires_at` or `idle_expires_at`, whichever is earlier.

    `user_id` is an int or a str, as the application began the session. `extra` holds the claims
    that the application declared; one that is absent from the cookie is absent here.
    """

    user_id: Any
    sid: str
    epoch: int
    created_at: datetime
    last_activity: datetime
    remember: bool
    expires_at: datetime
    idle_expires_at: datetime
    # The signed end; `expires_at` is earlier where a setting was shortened since.
    signed_expires_at: datetime
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> SessionRef:
        """The session itself, to be ended."""
        return SessionRef(
            sid=self.sid,
            expires_at=self.signed_expires_at,
            user_id=self.user_id,
            epoch=self.epoch,
            created_at=self.created_at,
        )


@dataclass(frozen=True, kw_only=True)
class IssuedSession:
    """A session that has just begun, and is to be signed into the browser's cookie."""

    user_id: Any
    sid: str
    epoch: int
    created_at: datetime
    expires_at: datetime
    remember: bool
    extra: Mapping[str, Any] = field(default_factory=dict)

    def payload(self) -> dict[str, Any]:
        """Return the session cookie's payload; an extra claim that is None is left out."""
        return {
            "user_id": self.user_id,
            "authenticated": True,
            "created_at": timestamp(self.created_at),
            "last_activity": timestamp(self.created_at),
            "expires_at": timestamp(self.expires_at),
            "remember": self.remember,
            "sid": self.sid,
            "epoch": self.epoch,
            **{name: value for name, value in self.extra.items() if value is not None},
        }


def new_session_id() -> str:
    """Return a session id that nobody can guess."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_SESSION_ID_BYTES)).rstrip(b"=").decode()


def is_session_id(value: object) -> bool:
    """Return whether a value has the form of a session id."""
    return isinstance(value, str) and _SESSION_ID.fullmatch(value) is not None


def is_user_id(value: object) -> bool:
    """Return whether a value can be a user's id: a positive integer, or a short text."""
    if type(value) is int:
        return 0 < value <= LARGEST_BIG_ID
    return isinstance(value, str) and 0 < len(value) <= LONGEST_USER_ID


def timestamp(moment: datetime) -> str:
    """Return an aware time as cookies hold it: UTC, microseconds, `Z` (RFC 3339)."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return text.removesuffix(_UTC_OFFSET) + "Z"


def parse_timestamp(text: object) -> datetime | None:
    """Return the aware time of a cookie's timestamp; None where the value is not one."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
