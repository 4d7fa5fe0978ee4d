"""The revocation list in memory: the verdict on a session without a query, and the list's age.

It holds what was ended before its time, not who is logged in. It grows until what it names would
have expired anyway, and is keyed on session ids: base64 padding gives one signature several
spellings that all verify, so a cookie's text names nothing.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final, NamedTuple

_FIRST_EPOCH_BEGINS: Final = datetime(2025, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)
_FORGOTTEN_AT_ONCE: Final = 10_000  # some milliseconds
_THE_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
# Linux's CLOCK_BOOTTIME counts while the machine is suspended; CLOCK_MONOTONIC does not.
_BOOT_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

Clocks = tuple[float, float]


class RevocationRow(NamedTuple):
    """A revocation as processes read it. Just one of sid, user_id and not_before is given.

    `sid` ends one session; `user_id` ends the user's sessions of an epoch before `epoch`;
    `not_before` ends every session that began at or before that time. `expires_at` is when the last
    session that it ends would have expired by itself. `seq` grows in the order of commits.
    """

    seq: int
    sid: str | None
    user_id: Any
    epoch: int | None
    not_before: datetime | None
    expires_at: datetime
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class NewRevocation:
    """A revocation to be written; for its fields see RevocationRow."""

    expires_at: datetime
    created_at: datetime
    reason: str
    sid: str | None = None
    user_id: Any = None
    epoch: int | None = None
    not_before: datetime | None = None


def boot_seconds() -> float:
    """Return seconds by a clock that nobody sets and that counts suspension."""
    return time.clock_gettime(_BOOT_CLOCK)


def read_clocks() -> Clocks:
    """Return seconds by a clock that counts suspension, and by the wall clock.

    A virtual machine that is paused may stop the first; its host then sets the second right.
    """
    return boot_seconds(), time.time()


def epoch_at(moment: datetime) -> int:
    """Return the lowest epoch that is given at a time: the seconds since 2025, 0 before that.

    New epochs are at least this, so none is given twice after a restore. They fit into 32 bits
    until 2093.
    """
    return max(0, int((moment - _FIRST_EPOCH_BEGINS).total_seconds()))


class RevocationList:
    """The revocation list, in the memory of one process."""

    def __init__(
        self, *, refuse_after: timedelta, read_clocks: Callable[[], Clocks] = read_clocks
    ) -> None:
        """Know nothing yet, and so give no verdict until the list was confirmed."""
        self._bound_seconds = refuse_after.total_seconds()
        self.read_clocks = read_clocks
        self._sids: dict[str, float] = {}  # -> when it may be forgotten, POSIX seconds
        self._epochs: dict[Any, tuple[int, float]] = {}  # user id -> lowest live epoch; the same
        self._not_before = _THE_BEGINNING
        self._confirmed: Clocks | None = None
        self._subscribers: list[Callable[[RevocationRow], None]] = []
        self._age_observers: list[Callable[[float], None]] = []

    def subscribe(self, subscriber: Callable[[RevocationRow], None]) -> None:
        """Call `subscriber` for each revocation as soon as the list has it, once or more often."""
        self._subscribers.append(subscriber)

    def observe_age(self, observer: Callable[[float], None]) -> None:
        """Call `observer` at each confirmation with the age in seconds that the list had reached.

        The first confirmation has no age before it.
        """
        self._age_observers.append(observer)

    def is_alive(self, sid: str, user_id: Any, epoch: int, created_at: datetime) -> bool | None:
        """Return whether nothing has ended this session; None while the list is stale."""
        if sid in self._sids or created_at <= self._not_before:
            return False
        lowest = self._epochs.get(user_id)
        if lowest is not None and epoch < lowest[0]:
            return False
        if self._confirmed is None:
            return None
        boot, wall = self.read_clocks()  # is_fresh(), without the calls
        bound = self._bound_seconds
        fresh = boot - self._confirmed[0] < bound and wall - self._confirmed[1] < bound
        return True if fresh else None

    def is_fresh(self) -> bool:
        """Return whether the list was confirmed recently enough for a verdict."""
        return self.age_seconds() < self._bound_seconds

    def age_seconds(self) -> float:
        """Return how long ago the list was confirmed; infinity before the first time."""
        if self._confirmed is None:
            return float("inf")
        boot, wall = self.read_clocks()
        return max(boot - self._confirmed[0], wall - self._confirmed[1])

    def has_ended(self, sid: str) -> bool:
        """Return whether this very session was ended, by its own id."""
        return sid in self._sids

    def min_epoch(self, user_id: Any) -> int:
        """Return the lowest epoch at which the user's sessions are alive; 0 where all are."""
        return self._epochs.get(user_id, (0, 0.0))[0]

    @property
    def not_before(self) -> datetime:
        """Sessions that began at this time or before have ended."""
        return self._not_before

    def earliest_start(self, now: datetime) -> datetime:
        """Return when a session that begins now may say that it began, so that it is alive."""
        return max(now, self._not_before + _TICK) if self._not_before > _THE_BEGINNING else now

    def __len__(self) -> int:
        return len(self._sids) + len(self._epochs)

    def apply(self, rows: Iterable[RevocationRow]) -> None:
        """Add rows to the list. An ended session never comes back."""
        for row in rows:
            forget_at = row.expires_at.timestamp()
            if row.sid is not None:
                self._sids[row.sid] = max(forget_at, self._sids.get(row.sid, 0.0))
            elif row.user_id is not None and row.epoch is not None:
                epoch, until = self._epochs.get(row.user_id, (0, 0.0))
                self._epochs[row.user_id] = max(row.epoch, epoch), max(forget_at, until)
            elif row.not_before is not None:
                self._not_before = max(row.not_before, self._not_before)
            for subscriber in self._subscribers:
                subscriber(row)

    def confirm(self, clocks: Clocks) -> None:
        """Note that the list held everything at the time of `clocks`, read before the store was."""
        if self._confirmed is not None:
            age_seconds = self.age_seconds()
            for observer in self._age_observers:
                observer(age_seconds)
        self._confirmed = clocks

    def forget(self, before: datetime) -> Iterator[None]:
        """Drop what expired before a time, a slice of the list for each step of the iteration.

        Between two steps the caller can let others run: the whole of a long list takes seconds.
        """
        limit = before.timestamp()
        for sids in _slices(self._sids):
            for sid in sids:
                if self._sids.get(sid, limit) < limit:
                    del self._sids[sid]
            yield
        for users in _slices(self._epochs):
            for user_id in users:
                if self._epochs.get(user_id, (0, limit))[1] < limit:
                    del self._epochs[user_id]
            yield


def _slices(keys: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the keys that there are now, some at a time."""
    those_now = iter(list(keys))
    while some := tuple(islice(those_now, _FORGOTTEN_AT_ONCE)):
        yield some
