"""The session that handlers see, and the functions that begin, read, change and clear it.

Handlers use `from quart import session` as a Flask handler would.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from quart import session as current_session
from quart.sessions import SessionMixin
from werkzeug.datastructures import CallbackDict

from quart_app.session.claims import Claims, IssuedSession, timestamp

_EMPTY: Mapping[str, Any] = {}
MethodT = TypeVar("MethodT", bound=Callable[..., Any])


class SessionPolicy(Protocol):
    """The interface that opened a session, as the session sees it."""

    def claims_of(self, payload: Mapping[str, Any]) -> Claims | None:
        """Return the claims that the next request would read from this payload."""

    def verdict(self, claims: Claims) -> bool | None:
        """Return whether the session is alive; None while the revocation list is stale."""

    def renewed(self, claims: Claims) -> Claims:
        """Return the claims with activity at this moment."""


def _reads(method: MethodT) -> MethodT:
    """Return the dict's method, as one that notes that the session was read."""

    def read(self: "Session", *args: Any, **kwargs: Any) -> Any:
        self.accessed = True
        return method(self, *args, **kwargs)

    read.__name__, read.__doc__ = method.__name__, method.__doc__
    return read  # type: ignore[return-value]


class Session(CallbackDict[str, Any], SessionMixin):
    """A dict that knows whether it was read or changed, and whose login it is.

    As with Flask, a change inside a nested value is not noticed: set `modified`.
    """

    modified = False
    accessed = False
    # Whether this request moved `last_activity`.
    is_renewed = False
    # Whether the revocation list is too old to tell if it has ended. It is then empty, and the
    # request must not be answered as if nobody were logged in.
    is_unverifiable = False
    # Whether the request has too many session cookies, so that none was read. It must not be
    # answered as if nobody were logged in, either.
    has_too_many_cookies = False

    def __init__(
        self,
        policy: SessionPolicy | None = None,
        payload: Mapping[str, Any] = _EMPTY,
        claims: Claims | None = None,
        presented: tuple[Claims, ...] = (),
        is_renewal_due: bool = False,  # noqa: FBT001, FBT002 by position, see open_session
    ) -> None:
        dict.__init__(self, payload)  # CallbackDict's own only adds `on_update`, which is below
        self.presented = presented
        self._claims = claims
        self._policy = policy
        self._is_renewal_due = is_renewal_due

    @property
    def claims(self) -> Claims | None:
        """The login with every change so far, just as the next request would read it."""
        if self.modified and self._policy is not None:
            return self._policy.claims_of(self)
        return self._claims

    def recheck(self) -> None:
        """Become empty if the session has ended since it was opened.

        A request's body may arrive long after its head.
        """
        if self._claims is None or self.modified or self._policy is None:
            return
        is_alive = self._policy.verdict(self._claims)
        if not is_alive:
            self._claims = None
            self.is_unverifiable = is_alive is None
            dict.clear(self)

    def count_as_activity(self, *, at_once: bool = False) -> None:
        """Move `last_activity`, `at_once` or when that is due. This does not modify the session."""
        if not (self._is_renewal_due or at_once) or self._claims is None or self.modified:
            return
        if self._policy is None:
            return
        self._claims = self._policy.renewed(self._claims)
        self._is_renewal_due, self.is_renewed = False, True
        dict.__setitem__(self, "last_activity", timestamp(self._claims.last_activity))

    @staticmethod
    def on_update(session: "Session") -> None:  # one function for all sessions, not one for each
        """Note that a handler changed the session."""
        session.accessed = session.modified = True

    # Every way to read a dict; one that is missing would leave a response without `Vary: Cookie`.
    # The two that handlers use most are written out, which is faster.

    def __getitem__(self, key: str) -> Any:
        self.accessed = True
        return dict.__getitem__(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, or `default`."""
        self.accessed = True
        return dict.get(self, key, default)

    __contains__ = _reads(dict.__contains__)
    __iter__ = _reads(dict.__iter__)
    __reversed__ = _reads(dict.__reversed__)
    __len__ = _reads(dict.__len__)
    __eq__ = _reads(dict.__eq__)
    __ne__ = _reads(dict.__ne__)
    __or__ = _reads(dict.__or__)
    __ror__ = _reads(dict.__ror__)
    __repr__ = _reads(CallbackDict.__repr__)
    __hash__ = None  # type: ignore[assignment] # like every dict
    keys = _reads(dict.keys)
    values = _reads(dict.values)
    items = _reads(dict.items)

    def copy(self) -> dict[str, Any]:
        """Return a plain dict of the same keys and values."""
        return dict(self.items())


def create_session(issued: IssuedSession) -> None:
    """Replace the browser's session, whatever it was, by a login."""
    session = _writable_session()
    session.clear()
    session.update(issued.payload())


def validate_session() -> Claims | None:
    """Return the login that this request was made with, or None. No query is made for it."""
    session = _session()
    if session is None:
        return None
    session.accessed = True
    return session.claims


def recheck_session() -> None:
    """Look again whether this request's session has ended."""
    session = _session()
    if session is not None:  # an empty session is false
        session.recheck()


def is_session_unverifiable() -> bool:
    """Return whether the revocation list is too old to tell if this request's session has ended."""
    session = _session()
    return session is not None and session.is_unverifiable


def has_too_many_session_cookies() -> bool:
    """Return whether this request has more session cookies than are looked at."""
    session = _session()
    return session is not None and session.has_too_many_cookies


def renew_session(*, at_once: bool = False) -> None:
    """Count this request as activity. The idle limit starts at the last activity.

    Activity is written down at most once in a renewal window, or `at_once`.
    """
    session = _session()
    if session is not None:
        session.count_as_activity(at_once=at_once)


def presented_sessions() -> tuple[Claims, ...]:
    """Return the logins of all session cookies of the request, even after their limits.

    They are what a logout ends. After the idle limit, too, for a copy may be kept alive.
    """
    session = _session()
    return () if session is None else session.presented


def update_session(**extra: Any) -> None:
    """Change extra claims of the login; None removes one."""
    session = _writable_session()
    for name, value in extra.items():
        if value is None:
            session.pop(name, None)
        else:
            session[name] = value


def clear_session() -> None:
    """Forget everything; the response deletes the browser's cookies."""
    _writable_session().clear()


def _session() -> Session | None:
    """Return this request's session; None where it is Quart's null session."""
    session = current_session._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 documented by Werkzeug for just this
    return session if isinstance(session, Session) else None


def _writable_session() -> Session:
    session = _session()
    if session is not None:
        return session
    current_session.clear()  # a null session raises Quart's own explanation
    raise RuntimeError("This application's sessions can't be revoked: call init_app first.")
