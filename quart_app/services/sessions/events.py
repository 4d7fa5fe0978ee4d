"""Events for open pages: switches, changes of the user's connections, the end of the session.

Each process reads the changes in the database once, however many streams it has. A stream keeps at
most one waiting event of each kind, so a slow reader costs no more memory.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import Any, Final, TypeVar

from quart_app.errors import TooManyStreams, Unavailable
from quart_app.services.background.periodic import FailureLog
from quart_app.services.caller import Caller
from quart_app.session.claims import Claims
from quart_app.session.revocations import RevocationList, RevocationRow
from quart_app.storage.changes import ChangeFeed, ChangeRow

HEARTBEAT_SECONDS: Final = 15.0  # proxies close connections that are silent for a minute
MAX_STREAMS_PER_SESSION: Final = 20  # streams in one process; a browser needs one
MAX_STREAMS_PER_USER: Final = 100
_RETRY_AFTER_SECONDS: Final = 30  # the Retry-After of a user or session with too many streams
# A page is rendered a moment before its stream opens. The stream sends the changes between.
_RECENT: Final = timedelta(seconds=10)
_MOST_RECENT: Final = 1000
_PATIENCE_SECONDS: Final = 1.0  # for a query of the changes

K = TypeVar("K", int, str)

_log = logging.getLogger(__name__)


class Kind(StrEnum):
    """The kinds of events."""

    PLATFORM = "platform"  # the session has another current connection
    PLATFORMS = "platforms"  # the list of the user's connections has changed
    ENDED = "ended"  # the session has ended, and the stream ends, too


@dataclass(frozen=True)
class Event:
    """One event. A heartbeat has no kind."""

    kind: Kind | None
    data: dict[str, Any] = field(default_factory=dict)


HEARTBEAT: Final = Event(None)


@dataclass(eq=False)
class Stream:
    """An open stream, and the session that opened it."""

    claims: Claims
    # As far as this process knows. Each request of the session to this process may postpone it.
    idle_expires_at: datetime
    waiting: dict[Kind, dict[str, Any]] = field(default_factory=dict)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, caller: Caller) -> "Stream":
        """Return a stream of the caller's session. Raises NotLoggedIn."""
        return cls(claims=caller.login, idle_expires_at=caller.login.idle_expires_at)

    def queue(self, kind: Kind, **data: Any) -> None:
        """Queue an event. It replaces a waiting event of the same kind."""
        if Kind.ENDED not in self.waiting:
            if kind is Kind.ENDED:
                self.waiting.clear()
            self.waiting[kind] = data
            self.woken.set()


class Events:
    """The open streams of one process, and their events."""

    def __init__(
        self, feed: ChangeFeed, revocations: RevocationList, now: Callable[[], datetime]
    ) -> None:
        self._feed, self._revocations, self._now = feed, revocations, now
        self._of_user: dict[int, set[Stream]] = {}
        self._of_session: dict[str, set[Stream]] = {}  # by sid
        self._recent: deque[ChangeRow] = deque(maxlen=_MOST_RECENT)
        self._failures = FailureLog(
            _log, failure="Changes can't be read", recovery="Changes can be read again"
        )
        self._is_stopping = False
        revocations.subscribe(self._on_revocation)

    def __len__(self) -> int:
        return sum(map(len, self._of_user.values()))

    def check_limit(self, caller: Caller) -> None:
        """Check that another stream may be opened. Raises TooManyStreams, Unavailable."""
        self._check_limit(caller.login)

    def _check_limit(self, claims: Claims) -> None:
        if self._is_stopping:  # at once, because another process listens or soon will
            raise Unavailable("This process is stopping.", retry_after_seconds=0)
        if (
            len(self._of_session.get(claims.sid, ())) >= MAX_STREAMS_PER_SESSION
            or len(self._of_user.get(claims.user_id, ())) >= MAX_STREAMS_PER_USER
        ):
            raise TooManyStreams(retry_after_seconds=_RETRY_AFTER_SECONDS)

    async def subscribe(self, stream: Stream) -> AsyncIterator[Event]:
        """Open the stream, and yield its events and heartbeats until it is over.

        It is over after the event of its session's end. It ends without an event if the process
        stops, or if too many other streams were opened meanwhile.
        """
        try:
            self._check_limit(stream.claims)
        except (TooManyStreams, Unavailable):
            return
        with self.following(stream):
            yield HEARTBEAT  # so that a proxy forwards the headers at once
            while not self._is_stopping:
                while stream.waiting:
                    kind = next(iter(stream.waiting))
                    yield Event(kind, stream.waiting.pop(kind))
                    if kind is Kind.ENDED:
                        return
                stream.woken.clear()
                seconds = self._seconds_left(stream)
                if seconds <= 0:
                    reason = "expired" if stream.claims.expires_at <= self._now() else "idle"
                    stream.queue(Kind.ENDED, reason=reason)
                    continue
                try:
                    async with asyncio.timeout(min(seconds, HEARTBEAT_SECONDS)):
                        await stream.woken.wait()
                except TimeoutError:
                    yield HEARTBEAT

    def note_activity(self, sid: str, idle_expires_at: datetime) -> None:
        """Note the idle limit that a request of the session has postponed."""
        for stream in self._of_session.get(sid, ()):
            stream.idle_expires_at = max(stream.idle_expires_at, idle_expires_at)

    def stop(self) -> None:
        """Close every stream, so that the server need not wait for it, and open no others."""
        self._is_stopping = True
        for stream in self._all():
            stream.woken.set()

    async def catch_up(self) -> None:
        """Read new changes and queue their events. If that fails, the next call tries again."""
        with self._failures.logged():
            async with asyncio.timeout(_PATIENCE_SECONDS):
                async for changes in self._feed.changes():
                    self._apply(changes)

    def _apply(self, changes: list[ChangeRow] | None) -> None:
        if changes is None:
            self._recent.clear()
            for stream in self._all():
                stream.queue(Kind.PLATFORMS)
            return
        for change in changes:
            self._recent.append(change)
            for stream in self._of_user.get(change.user_id, ()):
                _queue_change(change, stream)

    def _on_revocation(self, row: RevocationRow) -> None:
        concerned: Iterable[Stream]
        if row.sid is not None:
            concerned = self._of_session.get(row.sid, ())
        elif row.user_id is not None:
            concerned = self._of_user.get(row.user_id, ())
        else:
            concerned = self._all()
        for stream in concerned:
            if self._has_ended(stream):
                stream.queue(Kind.ENDED, reason=row.reason)

    def _has_ended(self, stream: Stream) -> bool:
        return self._verdict(stream) is False

    def is_over(self, stream: Stream) -> bool:
        """Return whether the stream must end: its session has ended, or has no verdict."""
        return self._verdict(stream) is not True or self._seconds_left(stream) <= 0

    def _verdict(self, stream: Stream) -> bool | None:
        claims = stream.claims
        return self._revocations.is_alive(
            claims.sid, claims.user_id, claims.epoch, claims.created_at
        )

    @contextmanager
    def following(self, stream: Stream) -> Iterator[None]:
        """Notify the stream of its session's events and activity while the block lasts."""
        _add(self._of_user, stream.claims.user_id, stream)
        _add(self._of_session, stream.claims.sid, stream)
        try:
            if self._has_ended(stream):  # after the request was admitted
                stream.queue(Kind.ENDED, reason=None)
            not_before = self._now() - _RECENT
            for change in self._recent:
                if change.user_id == stream.claims.user_id and change.created_at > not_before:
                    _queue_change(change, stream)
            yield
        finally:
            _discard(self._of_user, stream.claims.user_id, stream)
            _discard(self._of_session, stream.claims.sid, stream)

    def _seconds_left(self, stream: Stream) -> float:
        ends_at = min(stream.claims.expires_at, stream.idle_expires_at)
        return (ends_at - self._now()).total_seconds()

    def _all(self) -> Iterator[Stream]:
        return chain.from_iterable(self._of_user.values())


def _queue_change(change: ChangeRow, stream: Stream) -> None:
    if change.sid is None:
        stream.queue(Kind.PLATFORMS)
    elif change.sid == stream.claims.sid:
        stream.queue(Kind.PLATFORM, platform_connection_id=change.platform_connection_id)


def _add(streams: dict[K, set[Stream]], key: K, stream: Stream) -> None:
    streams.setdefault(key, set()).add(stream)


def _discard(streams: dict[K, set[Stream]], key: K, stream: Stream) -> None:
    streams[key].discard(stream)
    if not streams[key]:
        del streams[key]
