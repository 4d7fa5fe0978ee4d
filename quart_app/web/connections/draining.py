"""The stop of a server that loses no request.

When Hypercorn 0.18 stops, it closes idle connections without notice, and others after their answer,
although the client may be sending its next request (`_idle_timeout` in asyncio/tcp_server.py,
`_maybe_recycle` in protocol/h11.py). So connections don't see the stop until the drain is over.
Meanwhile, clients learn that this server takes no more requests: by `Connection: close` in the next
answer (RFC 9112 section 9.6), or by GOAWAY (RFC 9113 section 6.8).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from hypercorn.asyncio.worker_context import EventWrapper, WorkerContext

# How long an idle or silent connection may still send a request after the signal to stop. A proxy
# that closes its own idle connections to the server sooner never sends one too late.
IDLE_SECONDS: Final = 5.0


class Drain:
    """The stop of one server: whether it has begun, and whether idle connections are to close."""

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self.has_begun = False
        self.is_over = EventWrapper()
        self._idle_seconds = idle_seconds
        self._callbacks: list[Callable[[], None]] = []
        self._context: DrainingContext | None = None

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call this when the drain begins."""
        self._callbacks.append(callback)

    def begin(self) -> None:
        """Tell the subscribers; a second call does nothing."""
        if self.has_begun:
            return
        self.has_begun = True
        self._ending = asyncio.create_task(self._end())
        for callback in self._callbacks:
            callback()

    async def _end(self) -> None:
        await asyncio.sleep(self._idle_seconds)
        await self.is_over.set()

    def context_for_connections(self, context: WorkerContext) -> "DrainingContext":
        """Return the context that the connections of Hypercorn's worker see."""
        if self._context is None:
            self._context = DrainingContext(context, self)
        return self._context


class DrainingContext(WorkerContext):
    """Hypercorn's context, but `terminated` only when the drain is over."""

    def __init__(self, original: WorkerContext, drain: Drain) -> None:
        super().__init__(original.max_requests)
        self._original, self.drain = original, drain
        self.terminate, self.terminated = original.terminate, drain.is_over

    async def mark_request(self) -> None:
        """Count a request, for `max_requests`."""
        await self._original.mark_request()


def is_draining(context: object) -> bool:
    """Return whether the next answer must say that the server takes no more requests."""
    return isinstance(context, DrainingContext) and context.drain.has_begun
