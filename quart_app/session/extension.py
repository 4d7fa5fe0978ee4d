"""Revocable sessions for a Quart application.

`RevocableSessions(app, store=...)` sets the application's session interface, follows the store
while the application serves, and begins and ends sessions. docs/session-library.md shows it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, cast

from quart import Quart, current_app, request
from werkzeug.exceptions import BadRequest, ServiceUnavailable

from quart_app.session.claims import (
    CLOCK_TOLERANCE,
    ClaimCheck,
    Claims,
    IssuedSession,
    SessionLimits,
    is_user_id,
    new_session_id,
)
from quart_app.session.cookies import (
    DEFAULT_LIMITS,
    DEFAULT_REMEMBER_LIMITS,
    DEFAULT_RENEWAL,
    CookieFormat,
)
from quart_app.session.follower import RevocationFollower
from quart_app.session.interface import RevocableSessionInterface
from quart_app.session.marks import is_activity, is_answered_when_stale
from quart_app.session.revocations import NewRevocation, RevocationList, epoch_at
from quart_app.session.session import (
    clear_session,
    create_session,
    has_too_many_session_cookies,
    is_session_unverifiable,
    presented_sessions,
    recheck_session,
    renew_session,
    update_session,
    validate_session,
)
from quart_app.session.store import RevocationStore

CONFIG_PREFIX: Final = "REVOCABLE_SESSIONS_"
_EXTENSION: Final = "revocable_sessions"
_RETRY_AFTER_SECONDS: Final = 5
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULTS: Final[dict[str, Any]] = {
    "IDLE": DEFAULT_LIMITS.idle,
    "ABSOLUTE": DEFAULT_LIMITS.absolute,
    "REMEMBER_IDLE": DEFAULT_REMEMBER_LIMITS.idle,
    "REMEMBER_ABSOLUTE": DEFAULT_REMEMBER_LIMITS.absolute,
    "RENEWAL": DEFAULT_RENEWAL,
    "REFUSE_AFTER": timedelta(seconds=10),
    "DIGEST": "sha1",
    "AUTOMATIC": True,
}

T = TypeVar("T")


class RevocationsUnavailable(ServiceUnavailable):
    """The revocation list is stale, or an end could not be written: 503 with Retry-After.

    Nothing has changed, and the browser's cookie stays as it is.
    """

    description = "Sessions can't be verified at the moment. Please try again in a few seconds."

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """Return the response's headers."""
        retry_after = ("Retry-After", str(_RETRY_AFTER_SECONDS))
        return [*super().get_headers(*args, **kwargs), retry_after]


def require_fresh_revocations() -> None:
    """Refuse a request that nobody can judge. Raises RevocationsUnavailable.

    It carries a session, or might begin one, while the revocation list is stale. Raises BadRequest
    where it has more session cookies than are looked at.
    """
    if is_answered_when_stale():
        return
    if has_too_many_session_cookies():
        raise BadRequest("The request has too many session cookies. Delete this site's cookies.")
    sessions = cast(RevocableSessions, current_app.extensions[_EXTENSION])
    is_safe = request.method in _SAFE_METHODS
    if is_session_unverifiable() or not (is_safe or sessions.revocations.is_fresh()):
        raise RevocationsUnavailable


class RevocableSessions:
    """Flask-compatible signed-cookie sessions that can be ended.

    Configuration, as timedelta or seconds: REVOCABLE_SESSIONS_IDLE, _ABSOLUTE, _REMEMBER_IDLE,
    _REMEMBER_ABSOLUTE, _RENEWAL, _REFUSE_AFTER; _DIGEST is "sha1" or "sha256". With _AUTOMATIC
    (True) every request counts as activity but those of static files and of views marked
    `not_activity`, and is refused with 503 while the list is stale unless its view is marked
    `answers_when_stale`; an application that decides both itself sets it to False and calls
    `renew_session` and `require_fresh_revocations`.

    `extra_claims` declares the application's own claims of a login and what their values must be;
    `begin` and `update` set them. `after_poll` is awaited after each poll of the store.
    """

    def __init__(
        self,
        app: Quart | None = None,
        *,
        store: RevocationStore,
        extra_claims: Mapping[str, ClaimCheck] | None = None,
        is_user_id: ClaimCheck = is_user_id,
        revocations: RevocationList | None = None,
        after_poll: Callable[[], Awaitable[None]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self._extra_claims = dict(extra_claims or {})
        self._is_user_id = is_user_id
        self._after_poll = after_poll
        self._clock = clock  # POSIX seconds
        self._absolute = {False: timedelta(), True: timedelta()}
        self._tasks: set[asyncio.Task[Any]] = set()  # the event loop itself holds them only weakly
        self._given_revocations = revocations
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Quart) -> None:
        """Put the sessions into an application. Raises ValueError for a wrong configuration."""
        config = {
            name: app.config.setdefault(f"{CONFIG_PREFIX}{name}", default)
            for name, default in _DEFAULTS.items()
        }
        times = {
            name: _duration(name, config[name])
            for name, default in _DEFAULTS.items()
            if isinstance(default, timedelta)
        }
        if config["DIGEST"] not in {"sha1", "sha256"}:
            raise ValueError(f'{CONFIG_PREFIX}DIGEST must be "sha1" or "sha256".')
        if self._given_revocations is None:
            self.revocations = RevocationList(refuse_after=times["REFUSE_AFTER"])
        else:  # its length may be 0, which is false
            self.revocations = self._given_revocations
        self.follower = RevocationFollower(self.revocations, self.store)
        self._absolute = {False: times["ABSOLUTE"], True: times["REMEMBER_ABSOLUTE"]}
        app.session_interface = RevocableSessionInterface(  # type: ignore[assignment] # Quart names its own class
            CookieFormat(
                digest=config["DIGEST"],
                limits=SessionLimits(times["IDLE"], times["ABSOLUTE"]),
                remember_limits=SessionLimits(times["REMEMBER_IDLE"], times["REMEMBER_ABSOLUTE"]),
                renewal=times["RENEWAL"],
                extra_claims=self._extra_claims,
                is_user_id=self._is_user_id,
            ),
            is_alive=self.revocations.is_alive,
            clock=self._clock,
        )
        app.extensions[_EXTENSION] = self
        app.while_serving(self._serving)
        if config["AUTOMATIC"]:
            app.before_request(self._before_request)

    async def _serving(self) -> AsyncGenerator[None]:
        async with self.follower.running(self._after_poll):
            yield
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()

    async def _before_request(self) -> None:
        recheck_session()
        require_fresh_revocations()
        if is_activity():
            renew_session()

    def current(self) -> Claims | None:
        """Return the login that this request was made with, or None. No query is made for it."""
        return validate_session()

    async def begin(self, user_id: Any, *, remember: bool = False, **extra: Any) -> Claims:
        """Begin a session for a user whose password was right, ending the browser's former one.

        The user's epoch is read by one query. Raises RevocationsUnavailable.
        """
        if not self.revocations.is_fresh():
            raise RevocationsUnavailable
        epoch = await self._from_store(self.store.newest_epoch(user_id))
        await self._end(self._presented("replaced"))
        now = self._now()
        created_at = self.revocations.earliest_start(now)
        if created_at > now + CLOCK_TOLERANCE:  # it would be refused as one from the future
            raise RevocationsUnavailable("This machine's clock is behind, or another is ahead.")
        not_before_epoch = epoch_at(self.revocations.not_before)
        create_session(
            IssuedSession(
                user_id=user_id,
                sid=new_session_id(),
                epoch=max(epoch, self.revocations.min_epoch(user_id), not_before_epoch),
                created_at=created_at,
                expires_at=created_at + self._absolute[remember],
                remember=remember,
                extra=extra,
            )
        )
        claims = validate_session()
        if claims is None:
            clear_session()
            raise ValueError("The user id, or an extra claim, is none that a cookie may hold.")
        return claims

    def update(self, **extra: Any) -> None:
        """Change extra claims of the login; None removes one."""
        update_session(**extra)

    async def end(self) -> None:
        """End this browser's session everywhere, and clear it. Raises RevocationsUnavailable."""
        await self._end(self._presented("logged_out"))
        clear_session()

    async def end_session(
        self, sid: str, *, expires_at: datetime, reason: str = "logged_out"
    ) -> None:
        """End one session, of any browser, everywhere."""
        if not self.revocations.has_ended(sid):
            await self._end([self._revocation(reason, expires_at, sid=sid)])

    async def end_all(self, user_id: Any, *, reason: str = "logged_out_everywhere") -> None:
        """End every session of a user, everywhere; a session that begins afterwards is alive."""
        newest = await self._from_store(self.store.newest_epoch(user_id))
        epoch = max(newest, self.revocations.min_epoch(user_id)) + 1
        epoch = max(epoch, epoch_at(self._now()))
        until = self._latest_expiry()
        await self._end([self._revocation(reason, until, user_id=user_id, epoch=epoch)])

    async def end_everybodys(self, *, reason: str = "administrator") -> None:
        """End every session: after a restore, which brings ended ones back, or a leaked key."""
        now = self._now()
        await self._end([self._revocation(reason, self._latest_expiry(), not_before=now)])

    def _latest_expiry(self) -> datetime:
        return self._now() + max(self._absolute.values())

    def _revocation(self, reason: str, expires_at: datetime, **what: Any) -> NewRevocation:
        return NewRevocation(reason=reason, expires_at=expires_at, created_at=self._now(), **what)

    def _presented(self, reason: str) -> list[NewRevocation]:
        """Return what ends the sessions of all cookies that the browser sent."""
        return [
            self._revocation(reason, claims.signed_expires_at, sid=claims.sid)
            for claims in presented_sessions()
            if not self.revocations.has_ended(claims.sid)
        ]

    async def _end(self, revocations: Sequence[NewRevocation]) -> None:
        """Write revocations, and apply them in this process before the response says so.

        Quart cancels the handler of a client that goes away; the task continues to its end.
        """

        async def write_and_apply() -> None:
            self.revocations.apply(await self._from_store(self.store.append(revocations)))

        if not revocations:
            return
        task = asyncio.create_task(write_and_apply())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def _from_store(self, asked: Awaitable[T]) -> T:
        try:
            return await asked
        except Exception as error:
            raise RevocationsUnavailable from error

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _duration(name: str, value: object) -> timedelta:
    duration = timedelta(seconds=value) if isinstance(value, int | float) else value
    if not isinstance(duration, timedelta) or duration < timedelta():
        raise ValueError(
            f"{CONFIG_PREFIX}{name} must be a timedelta, or seconds, and not negative."
        )
    return duration
