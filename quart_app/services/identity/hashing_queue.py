"""A fair queue for password comparisons: a few at once, and addresses take turns."""

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from quart_app.errors import Busy

# The duration of a turn is measured. This is the estimate until the first turn has ended.
_FIRST_GUESS_SECONDS = 0.05
_WEIGHT_OF_THE_LAST = 0.1


class FairQueue:
    """A queue that runs at most `slots` at once. Each address waits in a separate line.

    The lines take turns: each round serves one client of every line. Nobody waits longer than
    `longest_wait`: a client that would is refused at once, so the number of waiting clients is
    bounded, too.
    """

    def __init__(self, slots: int, longest_wait: timedelta) -> None:
        self._free = slots
        self.slots = slots
        self._longest_seconds = longest_wait.total_seconds()
        self._lines: OrderedDict[str | None, deque[asyncio.Future[None]]] = OrderedDict()
        self._waiting = 0
        self._turn_seconds = _FIRST_GUESS_SECONDS

    @property
    def waiting(self) -> int:
        """The number of clients that wait for a turn."""
        return self._waiting

    @property
    def running(self) -> int:
        """The number of turns under way."""
        return self.slots - self._free

    @asynccontextmanager
    async def slot(self, address: str | None) -> AsyncIterator[None]:
        """Wait for a turn, which lasts as long as the block. Raises Busy."""
        if self._free and not self._waiting:
            self._free -= 1
        else:
            await self._wait(address)
        began = time.monotonic()
        try:
            yield
        finally:
            lasted = time.monotonic() - began
            self._turn_seconds += _WEIGHT_OF_THE_LAST * (lasted - self._turn_seconds)
            self._pass_on()

    async def _wait(self, address: str | None) -> None:
        line = self._lines.setdefault(address, deque())
        ahead = sum(min(len(each), len(line) + 1) for each in self._lines.values())
        if self._seconds_for(ahead) > self._longest_seconds:
            self._forget_if_empty(address)
            raise self._busy(ahead)
        turn = asyncio.get_running_loop().create_future()
        line.append(turn)
        self._waiting += 1
        self._refuse_whom_there_is_no_time_for()
        try:
            async with asyncio.timeout(self._longest_seconds):
                await turn
        except BaseException as error:
            self._leave(address, turn)
            if isinstance(error, TimeoutError):
                raise self._busy(self._waiting) from None
            raise

    def _refuse_whom_there_is_no_time_for(self) -> None:
        """Refuse the last of the longest line, if more wait than can be served in time.

        Among lines of equal length, choose the line whose turn is furthest away.
        """
        if self._seconds_for(self._waiting) <= self._longest_seconds:
            return
        address, line = max(reversed(self._lines.items()), key=lambda item: len(item[1]))
        turn = line.pop()
        self._waiting -= 1
        self._forget_if_empty(address)
        if not turn.done():  # its client may have just gone
            turn.set_exception(self._busy(self._waiting))

    def _pass_on(self) -> None:
        """Give the turn that ends to the first of the next line."""
        while self._lines:
            address, line = next(iter(self._lines.items()))
            turn = line.popleft()
            self._waiting -= 1
            self._lines.move_to_end(address)
            self._forget_if_empty(address)
            if not turn.done():  # its client may have just gone
                turn.set_result(None)
                return
        self._free += 1

    def _leave(self, address: str | None, turn: asyncio.Future[None]) -> None:
        """Release a place in the line, or a turn that came after its client had gone."""
        line = self._lines.get(address, ())
        if turn in line:
            self._lines[address].remove(turn)
            self._waiting -= 1
            self._forget_if_empty(address)
        elif turn.done() and not turn.cancelled() and turn.exception() is None:
            self._pass_on()

    def _forget_if_empty(self, address: str | None) -> None:
        if not self._lines[address]:
            del self._lines[address]

    def _seconds_for(self, turns: int) -> float:
        return turns * self._turn_seconds / self.slots

    def _busy(self, ahead: int) -> Busy:
        return Busy(retry_after_seconds=max(1, math.ceil(self._seconds_for(ahead))))
