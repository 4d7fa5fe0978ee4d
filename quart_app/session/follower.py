"""Keep a process's revocation list up to date: poll the store, listen to it, purge it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final

from quart_app.session.revocations import RevocationList, RevocationRow
from quart_app.session.store import RevocationStore

POLL_SECONDS: Final = 0.5
KEPT_AFTER_EXPIRY: Final = timedelta(days=7)  # clocks may be wrong, and backups are restored
_POLL_TIMEOUT_SECONDS: Final = 5.0
_LISTEN_AGAIN_SECONDS: Final = 1.0
_PURGE_EVERY_SECONDS: Final = 3600.0

_log = logging.getLogger(__name__)


class RevocationFollower:
    """Reads what other processes ended, at most POLL_SECONDS later.

    The poll is what counts, and is the heartbeat, too. Notifications only hasten it, so a listener
    that is killed, or lost behind a pooler, costs half a second.
    """

    def __init__(self, revocations: RevocationList, store: RevocationStore) -> None:
        self.revocations, self._store = revocations, store
        self._last: RevocationRow | None = None
        self._is_failing = False

    async def catch_up(self) -> None:
        """Read what is new and confirm the list. Raises what the store does; the list then ages."""
        # Read before the store is: what commits later may be missing from what it yields.
        clocks = self.revocations.read_clocks()
        async for rows in self._store.revocations_after(self._last):
            self.revocations.apply(rows)
            if rows:
                self._last = rows[-1]
        self.revocations.confirm(clocks)

    async def purge(self) -> None:
        """Forget, in the store and here, what expired a week ago."""
        for _ in self.revocations.forget(await self._store.purge(kept_for=KEPT_AFTER_EXPIRY)):
            await asyncio.sleep(0)  # requests are answered between two slices

    @asynccontextmanager
    async def running(
        self, after_poll: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[None]:
        """Keep the list confirmed while the block lasts; the first load is tried before it begins.

        `after_poll` follows the database as well: it is awaited after each poll, raises nothing and
        is done quickly. A database that is away does not keep a process from starting.
        """
        notified, is_over = asyncio.Event(), asyncio.Event()
        await self._try_to_catch_up()
        following = asyncio.create_task(self._follow(notified, is_over, after_poll))
        others = [asyncio.create_task(self._purge_periodically())]
        if self._store.supports_notify:
            others.append(asyncio.create_task(self._listen(notified)))
        try:
            yield
        finally:
            for task in others:
                task.cancel()
            # Not cancelled: a poll under way finishes, which takes a moment.
            is_over.set()
            notified.set()
            await asyncio.gather(following, *others, return_exceptions=True)

    async def _follow(
        self,
        notified: asyncio.Event,
        is_over: asyncio.Event,
        after_poll: Callable[[], Awaitable[None]] | None,
    ) -> None:
        while not is_over.is_set():
            await self._try_to_catch_up()
            if after_poll is not None:
                await after_poll()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await notified.wait()
            notified.clear()

    async def _try_to_catch_up(self) -> None:
        try:
            async with asyncio.timeout(_POLL_TIMEOUT_SECONDS):
                await self.catch_up()
        except Exception as error:  # noqa: BLE001 whatever it is, the list ages and the next poll tries again
            if not self._is_failing:
                cause = error.__cause__ or error
                _log.error("The list of ended sessions can't be read: %s", type(cause).__name__)
            self._is_failing = True
        else:
            if self._is_failing:
                _log.warning("The list of ended sessions can be read again.")
            self._is_failing = False

    async def _listen(self, notified: asyncio.Event) -> None:
        has_warned = False
        while True:
            try:
                await self._store.listen(notified.set)
            except Exception as error:  # noqa: BLE001 whatever it is, polls continue
                # Only if polls succeed, which log what is wrong otherwise.
                if not has_warned and not self._is_failing:
                    cause = error.__cause__ or error
                    _log.warning(
                        "Notifications of ended sessions can't be received, so they are read every"
                        " %s s: %s",
                        POLL_SECONDS,
                        type(cause).__name__,
                    )
                    has_warned = True
            await asyncio.sleep(_LISTEN_AGAIN_SECONDS)

    async def _purge_periodically(self) -> None:
        while True:
            await asyncio.sleep(_PURGE_EVERY_SECONDS)
            with suppress(Exception):  # what is left is purged the next time
                await self.purge()
