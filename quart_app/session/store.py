"""The interface of a revocation store, and a store in memory for tests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from quart_app.session.revocations import NewRevocation, RevocationRow


class RevocationStore(Protocol):
    """Keeps revocations for every process. Each method raises an error where it can't be done."""

    @property
    def supports_notify(self) -> bool:
        """Whether `listen` notices revocations before the next poll."""

    async def append(self, revocations: Sequence[NewRevocation]) -> list[RevocationRow]:
        """Write revocations, and return them once they are committed.

        The order of `seq` must be the order of commits, or a follower would miss one.
        """

    def revocations_after(self, last: RevocationRow | None) -> AsyncIterator[list[RevocationRow]]:
        """Yield the revocations after `last`, in batches, in the order of `seq`.

        Everything is yielded where `last` is None, or is not in the store as it is known: the
        database was then restored, replaced or purged.
        """

    async def newest_epoch(self, user_id: Any) -> int:
        """Return the highest epoch that was written for a user; 0 where there is none."""

    async def listen(self, on_notify: Callable[[], None]) -> None:
        """Call `on_notify` whenever another process has written, until the connection fails."""

    async def purge(self, *, kept_for: timedelta) -> datetime:
        """Delete what expired longer ago than `kept_for`; return the time before which that was."""

    async def close(self) -> None:
        """Release connections."""


class MemoryRevocationStore:
    """A store for tests of one process: what it holds is gone when the process ends."""

    supports_notify = True

    def __init__(self) -> None:
        self._rows: list[RevocationRow] = []
        self._next_seq = 1
        self._changed = asyncio.Event()

    async def append(self, revocations: Sequence[NewRevocation]) -> list[RevocationRow]:
        """Keep revocations, and return them."""
        rows = [
            RevocationRow(
                *(self._next_seq + offset, each.sid, each.user_id, each.epoch, each.not_before),
                *(each.expires_at, each.reason),
            )
            for offset, each in enumerate(revocations)
        ]
        self._next_seq += len(rows)
        self._rows += rows
        self._changed.set()
        return rows

    async def revocations_after(
        self, last: RevocationRow | None
    ) -> AsyncIterator[list[RevocationRow]]:
        """Yield the revocations after `last`."""
        known = last.seq if last is not None and last in self._rows else 0
        yield [row for row in self._rows if row.seq > known]

    async def newest_epoch(self, user_id: Any) -> int:
        """Return the highest epoch of a user."""
        return max((row.epoch or 0 for row in self._rows if row.user_id == user_id), default=0)

    async def listen(self, on_notify: Callable[[], None]) -> None:
        """Call `on_notify` after each `append`."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            on_notify()

    async def purge(self, *, kept_for: timedelta) -> datetime:
        """Drop what expired longer ago than `kept_for`."""
        before = datetime.now(UTC) - kept_for
        self._rows = [row for row in self._rows if row.expires_at >= before]
        return before

    async def close(self) -> None:
        """Do nothing: nothing is open."""
