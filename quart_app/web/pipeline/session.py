"""The session, and the four things that happen to one: create, validate, switch platform, clear.

Handlers use `from quart import session` as a Flask handler would. In this application only the
use cases below modify it, so that of two answers under way at once none undoes the other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, cast

from quart import session as current_session
from quart.sessions import SessionMixin
from werkzeug.datastructures import CallbackDict

_UTC_OFFSET = "+00:00"
# What makes a login of a payload: signed under another application's rules it is none of ours.
LOGIN_KEYS = frozenset(
    {
        *("user_id", "authenticated", "platform_connection_id", "sid", "epoch"),
        *("created_at", "last_activity", "expires_at", "remember"),
    }
)


_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a login lasts: without activity, and at all."""

    idle: timedelta
    absolute: timedelta


@dataclass(frozen=True, slots=True)
class Login:
    """A verified login. It ends at the earlier of the last two times, whatever else happens."""

    user_id: int
    platform_connection_id: int | None
    sid: str
    epoch: int
    created_at: datetime
    last_activity: datetime
    remember: bool
    expires_at: datetime
    idle_expires_at: datetime
    # What the cookie says of its end; `expires_at` is earlier where a setting has become shorter.
    signed_expires_at: datetime


class Rules(Protocol):
    """What a session asks of whoever opened it."""

    def login_of(self, payload: Mapping[str, Any]) -> Login | None:
        """Return the login that the next request would read from this payload."""

    def verdict(self, login: Login) -> bool | None:
        """Tell whether nothing has ended it; None where that can't be told just now."""

    def renewed(self, login: Login) -> Login:
        """Return the login as it is with activity just now."""


class Session(CallbackDict[str, Any], SessionMixin):
    """A dict that knows whether it was read, whether it was changed, and whose login it is.

    As with Flask, a change inside a nested value is not noticed: set `modified`.
    """

    modified = False
    accessed = False
    # Whether this request moved `last_activity`.
    is_renewed = False
    # Whether nobody can tell just now if it has ended: then it is empty, and must not be answered.
    is_undecided = False
    # Whether there are so many session cookies that none was looked at: it must not be answered.
    has_too_many_cookies = False

    def __init__(
        self,
        rules: Rules,
        payload: Mapping[str, Any] = _NOTHING,
        login: Login | None = None,
        presented: tuple[Login, ...] = (),
        is_renewal_due: bool = False,  # noqa: FBT001, FBT002 by position, see open_session
    ) -> None:
        dict.__init__(self, payload)  # CallbackDict's own only adds `on_update`, which is below
        self.presented = presented
        self._login = login
        self._rules = rules
        self._is_renewal_due = is_renewal_due

    @property
    def login(self) -> Login | None:
        """Whose login this is, with every change so far, just as the next request would read it."""
        return self._rules.login_of(self) if self.modified else self._login

    def judge_again(self) -> None:
        """Be empty if it has ended since it was opened: a body may come long after its head."""
        if self._login is None or self.modified:
            return
        is_alive = self._rules.verdict(self._login)
        if not is_alive:
            self._login = None
            self.is_undecided = is_alive is None
            dict.clear(self)

    def count_as_activity(self, *, at_once: bool = False) -> None:
        """Move `last_activity`, `at_once` or where that is due; this is no change by a handler."""
        if not (self._is_renewal_due or at_once) or self._login is None or self.modified:
            return
        self._login = self._rules.renewed(self._login)
        self._is_renewal_due, self.is_renewed = False, True
        dict.__setitem__(self, "last_activity", timestamp(self._login.last_activity))

    @staticmethod
    def on_update(session: "Session") -> None:  # one for all, not of each
        """Note that a handler changed it."""
        session.accessed = session.modified = True

    def __getitem__(self, key: str) -> Any:
        self.accessed = True
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.accessed = True
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self.accessed = True
        return super().__iter__()

    def __len__(self) -> int:
        self.accessed = True
        return super().__len__()

    def __eq__(self, other: object) -> bool:
        self.accessed = True
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment] # as of every dict

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, or `default`."""
        self.accessed = True
        return super().get(key, default)

    def keys(self) -> Any:
        """Return a view of the keys."""
        self.accessed = True
        return super().keys()

    def values(self) -> Any:
        """Return a view of the values."""
        self.accessed = True
        return super().values()

    def items(self) -> Any:
        """Return a view of the keys and values."""
        self.accessed = True
        return super().items()

    def copy(self) -> dict[str, Any]:
        """Return a plain dict of the same keys and values."""
        self.accessed = True
        return dict(super().items())


def create_session(
    *,
    user_id: int,
    platform_connection_id: int | None,
    sid: str,
    epoch: int,
    created_at: datetime,
    expires_at: datetime,
    remember: bool,
) -> None:
    """Replace whatever the browser's session was by a login; all times are aware."""
    payload = {
        "user_id": user_id,
        "authenticated": True,
        "created_at": timestamp(created_at),
        "last_activity": timestamp(created_at),
        "expires_at": timestamp(expires_at),
        "remember": remember,
        "sid": sid,
        "epoch": epoch,
    }
    if platform_connection_id is not None:
        payload["platform_connection_id"] = platform_connection_id
    session = _session()
    session.clear()
    session.update(payload)


def validate_session() -> Login | None:
    """Return the login that this request was made with, or None. No query is made for it."""
    session = _session()
    session.accessed = True
    return session.login


def judge_session_again() -> None:
    """Ask once more whether this request's session has ended."""
    _session().judge_again()


def renew_session(*, at_once: bool = False) -> None:
    """Count this request as activity of its user, from which the idle limit is measured.

    It is written down at most once a renewal window, or `at_once` where just that is asked for.
    """
    _session().count_as_activity(at_once=at_once)


def presented_sessions() -> tuple[Login, ...]:
    """Return the logins of all session cookies that the browser sent, although they may be over.

    They are what a logout ends: after the idle limit as well, for a copy may be kept alive.
    """
    return _session().presented


def switch_platform(platform_connection_id: int | None) -> None:
    """Let the session act for another connection of its user's, or for none."""
    session = _session()
    if platform_connection_id is None:
        session.pop("platform_connection_id", None)
    else:
        session["platform_connection_id"] = platform_connection_id


def clear_session() -> None:
    """Forget everything; the answer deletes the browser's cookies."""
    _session().clear()


def timestamp(moment: datetime) -> str:
    """Return it as in the cookie: UTC, microseconds, Z (RFC 3339)."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return text.removesuffix(_UTC_OFFSET) + "Z"


def _session() -> Session:
    return cast(Session, current_session._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001 documented by Werkzeug for just this
