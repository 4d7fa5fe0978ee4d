"""Compare a typed password: in turn, in a thread, and counted by the throttle."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from quart_app.errors import TooManyAttempts
from quart_app.model import User
from quart_app.services.audit.addresses import counted_address
from quart_app.services.background.shielding import run_in_background
from quart_app.services.caller import Caller
from quart_app.services.identity.hashing_queue import FairQueue
from quart_app.services.identity.passwords import Passwords
from quart_app.services.identity.steps.throttle import (
    RESERVED_FOR,
    Attempt,
    ComparisonsUnderWay,
    Throttling,
)

MOST_ATTEMPTS: Final = 5  # at a use case whose user changes during the comparison
_ASK_AGAIN_SECONDS: Final = 0.1  # a comparison or two

T = TypeVar("T")


@dataclass(frozen=True)
class PasswordComparison:
    """Compares passwords with the hashes of users."""

    passwords: Passwords
    hashing_queue: FairQueue
    throttling: Throttling

    async def in_turn(self, caller: Caller, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the attempt in its turn; wait for other comparisons outside it."""
        give_up_at = time.monotonic() + RESERVED_FOR.total_seconds()
        while True:
            async with self.hashing_queue.slot(counted_address(caller.address)):
                with suppress(ComparisonsUnderWay):
                    return await attempt()
            if time.monotonic() >= give_up_at:
                raise TooManyAttempts(retry_after_seconds=1)
            await asyncio.sleep(_ASK_AGAIN_SECONDS)

    async def matches(self, attempt: Attempt, user: User | None, password: str) -> bool:
        """Compare the password of an attempt. A client that hangs up meanwhile has failed."""
        try:
            return await self.passwords.matches(user.password_hash if user else None, password)
        except asyncio.CancelledError:  # the client hung up, and gets no answer
            run_in_background(self.throttling.fail(attempt))
            raise
