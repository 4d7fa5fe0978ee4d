"""Two requests at a time to each server, so that nobody makes us a nuisance to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final
from weakref import WeakValueDictionary

from quart_app.fediverse.errors import ServerBusy

_AT_A_TIME: Final = 2
_RETRY_AFTER_SECONDS: Final = 30


class ServerSlots:
    """The slots of all servers. A server that nothing is asked of takes no memory."""

    def __init__(self, longest_wait: timedelta) -> None:
        self._longest_wait = longest_wait
        self._semaphores: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def slot(self, server: str) -> AsyncIterator[None]:
        """Wait for one of the server's slots and hold it. Raises ServerBusy."""
        semaphore = self._semaphores.get(server)
        if semaphore is None:
            semaphore = self._semaphores[server] = asyncio.Semaphore(_AT_A_TIME)
        try:
            async with asyncio.timeout(self._longest_wait.total_seconds()):
                await semaphore.acquire()
        except TimeoutError:
            raise ServerBusy(server, retry_after_seconds=_RETRY_AFTER_SECONDS) from None
        try:
            yield
        finally:
            semaphore.release()
