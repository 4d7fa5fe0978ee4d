"""The throttle: how long a name, an address or a device must wait after wrong passwords."""

import hashlib
import hmac
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import TooManyAttempts
from quart_app.model import THROTTLE_KEY_LENGTH, AuditEvent, User
from quart_app.services.audit.addresses import counted_address
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.session.claims import CLOCK_TOLERANCE
from quart_app.storage import throttles as stored
from quart_app.storage.database import Database
from quart_app.text.login_names import throttle_key

LONGEST_WAIT: Final = timedelta(minutes=15)
FORGOTTEN_AFTER: Final = timedelta(hours=1)  # without a failure; longer than the longest wait
# An older reservation was lost with its process.
RESERVED_FOR: Final = timedelta(seconds=30)
_MOST_DOUBLINGS: Final = 10  # of one second; more than the longest wait
_PURGED_AT_ONCE: Final = 10  # with each failure, which adds two rows, so the table stays small


class ComparisonsUnderWay(Exception):  # noqa: N818 named for the fact
    """Try again: comparisons under way will decide whether this attempt must wait."""


@dataclass(frozen=True)
class Limit:
    """The number of failures in a row without a wait. Each further one doubles it, from 1 s."""

    kind: str
    free: int


# Many people may share an address.
OF_A_NAME: Final = Limit("name", 5)
OF_AN_ADDRESS: Final = Limit("address", 50)
OF_A_DEVICE: Final = Limit("device", 10)
# All devices of one user that were known before the password changed share one count.
OF_OLD_DEVICES: Final = Limit("old devices", 10)
OF_A_SESSION: Final = Limit("session", 10)


@dataclass(frozen=True)
class Attempt:
    """An attempt to be compared: the limits that count it, and the user it is for, if any."""

    limits: dict[str, Limit]  # by the key of the row that counts it
    user: User | None = None

    @property
    def keys(self) -> Sequence[str]:
        """The keys of the rows that count this attempt."""
        return tuple(self.limits)


class _MustWait(Exception):  # noqa: N818 named for the fact
    """An attempt is refused until the wait is over."""

    def __init__(self, user_id: int | None, wait: timedelta) -> None:
        super().__init__()
        self.user_id, self.wait = user_id, wait


@dataclass(frozen=True, kw_only=True)
class Throttling:
    """Counts failures in the database, for all processes; restarts keep the counts.

    An attempt is reserved before its password is compared, and each reservation counts as the
    failure that it may become. So only one guess is compared after a wait, however many requests
    and processes there are. A right password takes its reservation back.
    """

    database: Database
    secret: str = field(repr=False)
    audit: AuditWriter
    now: Callable[[], datetime]

    def login(self, caller: Caller, login_name: str, user: User | None) -> Attempt:
        """Return the attempt to log in with a name. `user` is the user with that name, if any.

        A device that the user has logged in on has a separate count: no stranger can lock it out.
        """
        if user is not None and user.id in caller.known_devices:
            device_id = caller.device_id_for(user)
            if device_id is None:
                return self._attempt(user, (OF_OLD_DEVICES, str(user.id)))
            return self._attempt(user, (OF_A_DEVICE, device_id))
        address = counted_address(caller.address)
        # Count the typed name, not its user: a shared wait would show that two names are one
        # user's. Normalize it first: otherwise each spelling of a name would allow more guesses.
        return self._attempt(
            user, (OF_A_NAME, throttle_key(login_name)), (OF_AN_ADDRESS, str(address))
        )

    def confirmation(self, caller: Caller, user: User | None) -> Attempt:
        """Return the attempt to confirm the password of a session's user."""
        return self._attempt(user, (OF_A_SESSION, caller.sid))

    def _attempt(self, user: User | None, *parts: tuple[Limit, str]) -> Attempt:
        return Attempt({self._key(limit.kind, of): limit for limit, of in parts}, user)

    def _key(self, kind: str, of: str) -> str:
        text = f"throttle {kind} {of}".encode("utf-8", "surrogatepass")
        return hmac.digest(self.secret.encode(), text, hashlib.sha256).hex()[:THROTTLE_KEY_LENGTH]

    async def reserve(
        self, caller: Caller, find: Callable[[AsyncSession], Awaitable[Attempt]]
    ) -> Attempt:
        """Count the attempt that `find` returns, and return it. Its password may now be compared.

        Raises ComparisonsUnderWay if enough comparisons are under way that their failures would
        make it wait: they must not get a right password refused. Raises TooManyAttempts, and counts
        that for the audit log.
        """

        async def reserve(db: AsyncSession) -> Attempt:
            attempt = await find(db)
            await self._reserve(db, attempt)
            return attempt

        try:
            return await self.database.run_in_transaction(reserve)
        except _MustWait as refused:
            # Not in the transaction: the counts are the event loop's.
            self.audit.count(AuditEvent.LOGIN_THROTTLED, caller, user_id=refused.user_id)
            raise TooManyAttempts(
                retry_after_seconds=math.ceil(refused.wait.total_seconds())
            ) from None

    async def _reserve(self, db: AsyncSession, attempt: Attempt) -> None:
        now = self.now()
        rows = await stored.reserve(
            db,
            attempt.keys,
            at=now,
            lost_before=now - RESERVED_FOR,
            not_after=now + CLOCK_TOLERANCE,
        )
        waits, has_room = [], True
        for row in rows:
            limit, failures = attempt.limits[row.key], self._failures(row)
            # Another machine's clock may be a little ahead: its failure was a moment ago.
            since = max(now - row.last_failure_at, timedelta())
            waits.append(wait_after(failures, limit) - since)
            has_room &= row.reserved <= max(1, limit.free + 1 - failures)
        if max(waits) > timedelta():
            raise _MustWait(attempt.user.id if attempt.user else None, max(waits))
        if not has_room:
            raise ComparisonsUnderWay

    def _failures(self, row: stored.Counted) -> int:
        """Return how many failures still count.

        A failure further in the future than CLOCK_TOLERANCE comes from a wrong clock. It makes
        nobody wait until that time has come, but the next failure adds to its count.
        """
        now = self.now()
        is_near = now - FORGOTTEN_AFTER < row.last_failure_at <= now + CLOCK_TOLERANCE
        return row.failures if is_near else 0

    @shielded
    async def fail(self, attempt: Attempt) -> None:
        """Turn the reservation into a failure, even if the client has hung up meanwhile.

        A right password is answered sooner than a wrong one, so a client that hangs up early knows
        the result.
        """
        now = self.now()
        forgotten_before = now - FORGOTTEN_AFTER
        async with self.database.begin() as db:
            await stored.count_failure(db, attempt.keys, at=now, forgotten_before=forgotten_before)
            await stored.delete_forgotten_throttles(
                db, before=forgotten_before, most=_PURGED_AT_ONCE
            )

    async def succeed(self, db: AsyncSession, attempt: Attempt) -> None:
        """Take the reservation back, and forget the failures before it.

        Failures of an address stay: one right password proves nothing about the other attempts.
        """
        forgiven = [key for key, limit in attempt.limits.items() if limit is not OF_AN_ADDRESS]
        await stored.release(db, attempt.keys, forgiven=forgiven)

    async def take_back(self, attempt: Attempt) -> None:
        """Do the same as `succeed`, in a separate transaction."""
        async with self.database.begin() as db:
            await self.succeed(db, attempt)


def wait_after(failures: int, limit: Limit) -> timedelta:
    """Return the wait after this number of failures in a row."""
    beyond = failures - limit.free
    if beyond <= 0:
        return timedelta()
    seconds = 1 << min(beyond - 1, _MOST_DOUBLINGS)
    return min(timedelta(seconds=seconds), LONGEST_WAIT)
