"""Who has failed too often: how long a name, an address or a device waits after wrong passwords."""

import hashlib
import hmac
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import TooManyAttempts
from quart_app.login_names import email_key
from quart_app.model import THROTTLE_KEY_LENGTH
from quart_app.services.addresses import counted_address
from quart_app.services.known_devices import Device
from quart_app.services.sessions import CLOCK_TOLERANCE
from quart_app.services.uninterrupted import uninterrupted
from quart_app.storage import throttles as stored
from quart_app.storage.database import Database

LONGEST_WAIT: Final = timedelta(minutes=15)
FORGOTTEN_AFTER: Final = timedelta(hours=1)  # without a failure; longer than the longest wait
_MOST_DOUBLINGS: Final = 10  # of one second: more than the longest wait
_PURGED_AT_ONCE: Final = 10  # with each failure, which adds two: so the table stays small


@dataclass(frozen=True)
class Limit:
    """How many failures in a row cost nothing; each further one doubles the wait, from a second."""

    kind: str
    free: int


# An address may be that of many people.
OF_A_NAME: Final = Limit("name", 5)
OF_AN_ADDRESS: Final = Limit("address", 50)
OF_A_DEVICE: Final = Limit("device", 10)
OF_A_SESSION: Final = Limit("session", 10)


@dataclass(frozen=True)
class Attempt:
    """One password that is to be compared, by what it is counted."""

    limits: dict[str, Limit]  # by key; in the order of kinds, see storage.throttles

    @property
    def keys(self) -> Sequence[str]:
        """The keys of the rows that count it."""
        return tuple(self.limits)


@dataclass(frozen=True)
class Throttling:
    """Counts failures in the database: for all processes, and past their restart.

    Only failures count, and only when they are known: whoever is right is never refused because
    others are being compared. A login that is right is asked about once more as it begins, so of
    many guesses in flight no more count than one after the other.
    """

    database: Database
    secret: str = field(repr=False)
    now: Callable[[], datetime]

    def login(self, login_name: str, device: Device, user_id: int | None) -> Attempt:
        """Return the attempt of a login; `user_id` is whose name it is, if anybody's.

        A device where that user ever logged in is counted by itself: no stranger can lock it out.
        """
        if user_id is not None and user_id in device.known_as:
            device_id, _ = device.known_as[user_id]
            return self._attempt((OF_A_DEVICE, device_id))
        address = counted_address(device.address)
        # By what was typed, not by whose it is: else two names that share a wait are one person's.
        # In one spelling: else each further one of a name would be worth as many guesses again.
        return self._attempt((OF_A_NAME, email_key(login_name)), (OF_AN_ADDRESS, str(address)))

    def confirmation(self, sid: str) -> Attempt:
        """Return the attempt of a session to show that it knows its user's password."""
        return self._attempt((OF_A_SESSION, sid))

    def _attempt(self, *parts: tuple[Limit, str]) -> Attempt:
        return Attempt({self._key(limit.kind, of): limit for limit, of in parts})

    def _key(self, kind: str, of: str) -> str:
        text = f"throttle {kind} {of}".encode("utf-8", "surrogatepass")
        return hmac.digest(self.secret.encode(), text, hashlib.sha256).hex()[:THROTTLE_KEY_LENGTH]

    async def check(self, db: AsyncSession, attempt: Attempt) -> bool:
        """Return whether anything is counted against the attempt. Raises TooManyAttempts."""
        now = self.now()
        found = await stored.throttles(db, attempt.keys)
        # What another machine wrote, whose clock is a little ahead, was a moment ago. What is
        # further ahead, a wrong clock wrote: else one would wait until that time has come. The next
        # failure counts on from it, at the right time.
        waits = [
            wait_after(each.failures, attempt.limits[each.key])
            - max(now - each.last_failure_at, timedelta())
            for each in found
            if now - FORGOTTEN_AFTER < each.last_failure_at <= now + CLOCK_TOLERANCE
        ]
        longest = max(waits, default=timedelta())
        if longest > timedelta():
            raise TooManyAttempts(retry_after_seconds=math.ceil(longest.total_seconds()))
        return bool(found)

    @uninterrupted
    async def fail(self, attempt: Attempt) -> None:
        """Count a failure, even of who hangs up meanwhile: a right one may be answered sooner."""
        forgotten_before = self.now() - FORGOTTEN_AFTER
        async with self.database.begin() as db:
            await stored.count_failure(
                db, attempt.keys, at=self.now(), forgotten_before=forgotten_before
            )
            await stored.delete_forgotten_throttles(
                db, before=forgotten_before, most=_PURGED_AT_ONCE
            )

    async def succeed(self, db: AsyncSession, attempt: Attempt) -> None:
        """Forget failures but those of an address, where one right password proves nothing.

        Raises TooManyAttempts where meanwhile so many others failed that this one would not have
        been compared.
        """
        if await self.check(db, attempt):
            own = [key for key, limit in attempt.limits.items() if limit is not OF_AN_ADDRESS]
            await stored.delete_throttles(db, own)


def wait_after(failures: int, limit: Limit) -> timedelta:
    """Return how long nothing is compared after so many failures in a row."""
    beyond = failures - limit.free
    if beyond <= 0:
        return timedelta()
    seconds = 1 << min(beyond - 1, _MOST_DOUBLINGS)
    return min(timedelta(seconds=seconds), LONGEST_WAIT)
