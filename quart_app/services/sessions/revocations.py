"""What has ended, in memory: the verdict on a session without a query, and how old the list is.

In memory stands what was ended, not who is logged in. Each process reads what others ended at most
half a second later; one that could not confirm its list for `refuse_after` gives no verdict at all.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

from quart_app.storage.clock import boot_seconds
from quart_app.storage.follow import Feed
from quart_app.storage.revocations import Ended

POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 5.0  # for one poll
_LISTEN_AGAIN_SECONDS = 1.0
_PURGE_EVERY_SECONDS = 3600.0
KEPT_AFTER_EXPIRY = timedelta(days=7)  # clocks may be wrong, and backups are restored

_log = logging.getLogger(__name__)


def read_clocks() -> tuple[float, float]:
    """Return seconds by a clock that counts suspension, and by the wall clock.

    A virtual machine that is paused may stop the first; the second is then set right from outside.
    """
    return boot_seconds(), time.time()


class Revocations:
    """The list of what has ended, of one process."""

    def __init__(
        self,
        feed: Feed,
        *,
        refuse_after: timedelta,
        read_clocks: Callable[[], tuple[float, float]] = read_clocks,
    ) -> None:
        """Know nothing yet, and so give no verdict: `followed` keeps it confirmed."""
        self._feed = feed
        self._bound_seconds = refuse_after.total_seconds()
        self._read_clocks = read_clocks
        self._ended: dict[str, float] = {}  # sid -> when its row may be forgotten, POSIX seconds
        self._epochs: dict[int, tuple[int, float]] = {}  # user -> oldest epoch alive; the same
        self._not_before = datetime.min.replace(tzinfo=UTC)
        self._confirmed: tuple[float, float] | None = None
        self._is_failing = False
        self._listeners: list[Callable[[Ended], None]] = []

    def tell(self, listener: Callable[[Ended], None]) -> None:
        """Let `listener` know of each end as soon as the list does, once or oftener."""
        self._listeners.append(listener)

    def is_alive(self, sid: str, user_id: int, epoch: int, created_at: datetime) -> bool | None:
        """Tell whether nothing has ended this session; None where that can't be told just now."""
        if sid in self._ended or created_at <= self._not_before:
            return False
        oldest = self._epochs.get(user_id)
        if oldest is not None and epoch < oldest[0]:
            return False
        if self._confirmed is None:
            return None
        boot, wall = self._read_clocks()  # is_fresh(), without the calls
        bound = self._bound_seconds
        fresh = boot - self._confirmed[0] < bound and wall - self._confirmed[1] < bound
        return True if fresh else None

    def is_fresh(self) -> bool:
        """Tell whether the list was confirmed so lately that a verdict can rest on it."""
        return self.age_seconds() < self._bound_seconds

    def age_seconds(self) -> float:
        """Return how long ago the list was confirmed; infinity before the first time."""
        if self._confirmed is None:
            return float("inf")
        boot, wall = self._read_clocks()
        return max(boot - self._confirmed[0], wall - self._confirmed[1])

    def has_ended(self, sid: str) -> bool:
        """Tell whether this very session was ended, by its own id."""
        return sid in self._ended

    def oldest_epoch(self, user_id: int) -> int:
        """Return the oldest epoch at which sessions of the user are alive; 0 where all are."""
        return self._epochs.get(user_id, (0, 0.0))[0]

    @property
    def not_before(self) -> datetime:
        """The time at which, or before which, no session that is alive began."""
        return self._not_before

    def __len__(self) -> int:
        return len(self._ended) + len(self._epochs)

    def apply(self, news: Iterable[Ended]) -> None:
        """Take them into the list. It only grows here: what has ended never comes back."""
        for ended in news:
            forget_at = ended.expires_at.timestamp()
            if ended.sid is not None:
                self._ended[ended.sid] = max(forget_at, self._ended.get(ended.sid, 0.0))
            elif ended.user_id is not None and ended.epoch is not None:
                epoch, until = self._epochs.get(ended.user_id, (0, 0.0))
                self._epochs[ended.user_id] = max(ended.epoch, epoch), max(forget_at, until)
            elif ended.not_before is not None:
                self._not_before = max(ended.not_before, self._not_before)
            for listener in self._listeners:
                listener(ended)

    async def catch_up(self) -> None:
        """Read what is new and confirm the list. Raises Unavailable, and then it grows older."""
        # Read before the database is: whatever commits later may be missing from what we get.
        clocks = self._read_clocks()
        async for news in self._feed.news():
            self.apply(news)
        self._confirmed = clocks

    async def purge(self) -> None:
        """Forget, in the database and here, what expired a week ago. Raises Unavailable."""
        before = (await self._feed.purge(kept_for=KEPT_AFTER_EXPIRY)).timestamp()
        self._ended = {sid: at for sid, at in self._ended.items() if at >= before}
        self._epochs = {
            user: oldest for user, oldest in self._epochs.items() if oldest[1] >= before
        }

    @asynccontextmanager
    async def followed(
        self, then: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[None]:
        """Keep the list confirmed while the block lasts; the first load is tried before it begins.

        `then` is what else follows the database: it is called after each look at it, raises nothing
        and is quickly done.

        A database that is away does not keep a process from starting: it goes on trying.
        """
        heard, is_over = asyncio.Event(), asyncio.Event()
        await self._try_to_catch_up()
        following = asyncio.create_task(self._follow(heard, is_over, then))
        others = [asyncio.create_task(self._purge_now_and_then())]
        if self._feed.tells:
            others.append(asyncio.create_task(self._listen(heard)))
        try:
            yield
        finally:
            for task in others:
                task.cancel()
            # Not cancelled: a poll under way is let finish, it takes a moment.
            is_over.set()
            heard.set()
            await asyncio.gather(following, *others, return_exceptions=True)

    async def close(self) -> None:
        """Let go of the database's connections."""
        await self._feed.close()

    async def _follow(
        self,
        heard: asyncio.Event,
        is_over: asyncio.Event,
        then: Callable[[], Awaitable[None]] | None,
    ) -> None:
        while not is_over.is_set():
            await self._try_to_catch_up()
            if then is not None:
                await then()
            # The poll is what counts, and is the heartbeat, too: being told only hastens it.
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await heard.wait()
            heard.clear()

    async def _try_to_catch_up(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self.catch_up()
        except Exception as error:  # noqa: BLE001 whatever it is, the list grows old and the next poll tries again
            if not self._is_failing:
                cause = error.__cause__ or error
                _log.error("The list of ended sessions can't be read: %s", type(cause).__name__)
            self._is_failing = True
        else:
            if self._is_failing:
                _log.warning("The list of ended sessions can be read again.")
            self._is_failing = False

    async def _listen(self, heard: asyncio.Event) -> None:
        while True:
            with suppress(Exception):  # polls go on, and say what is wrong with the database
                await self._feed.listen(heard.set)
            await asyncio.sleep(_LISTEN_AGAIN_SECONDS)

    async def _purge_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_PURGE_EVERY_SECONDS)
            with suppress(Exception):  # what is left is purged the next time
                await self.purge()
