"""Check every connected account about once a day, spread out, and sparing servers in trouble."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from quart_app.fediverse.errors import ServerError, TokenRefused
from quart_app.instances import server_of
from quart_app.services.background.periodic import PeriodicTask
from quart_app.services.platforms.checks import AccountChecks
from quart_app.storage import platform_accounts as stored
from quart_app.storage.database import Database

_EVERY: Final = timedelta(minutes=1)
_AT_ONCE: Final = 40  # accounts in a round: some 57,000 a day in each process
_SERVERS_AT_ONCE: Final = 8
# An account is taken for this long, so that only one process checks it.
_TAKEN_FOR: Final = timedelta(minutes=15)
# Accounts never seen before, such as all of them after a migration, are spread over a day.
_FIRST_WITHIN: Final = timedelta(hours=24)


@dataclass(frozen=True)
class BackgroundChecks:
    """The checks that no user asks for."""

    database: Database
    checks: AccountChecks
    now: Callable[[], datetime]

    def periodic_tasks(self) -> Sequence[PeriodicTask]:
        """Return the round that runs every minute."""
        return [
            PeriodicTask(
                name="check_accounts",
                work=self.check_due,
                every=_EVERY,
                failure="Connected accounts can't be checked",
                recovery="Connected accounts can be checked again",
            )
        ]

    async def check_due(self) -> None:
        """Check the accounts that are due, one at a time per server. Raises Unavailable."""
        async with self.database.read() as db:  # most rounds find nothing, and need no lock
            if not await stored.has_connections_to_check(db, now=self.now()):
                return
        await self._schedule_new()
        by_server = defaultdict(list)
        for platform_connection_id, instance_url in await self._take():
            by_server[server_of(instance_url)].append(platform_connection_id)
        slots = asyncio.Semaphore(_SERVERS_AT_ONCE)
        results = await asyncio.gather(
            *(self._check_at_one_server(ids, slots) for ids in by_server.values()),
            return_exceptions=True,  # a failure at one server leaves the others alone
        )
        for failure in results:
            if failure is not None:
                raise failure

    async def _check_at_one_server(
        self, connection_ids: Sequence[int], slots: asyncio.Semaphore
    ) -> None:
        """Check accounts of a server until it is in trouble; all others there then wait as long.

        In random order, because the trouble may be with a single account.
        """
        async with slots:
            for platform_connection_id in random.sample(connection_ids, len(connection_ids)):
                result = await self.checks.check_connection(platform_connection_id)
                problem = result.problem if result else None
                if isinstance(problem, ServerError) and not isinstance(problem, TokenRefused):
                    async with self.database.begin() as db:
                        await stored.postpone_checks(db, like=platform_connection_id)
                    return

    async def _schedule_new(self) -> None:
        """Choose the time of the first check of connections that have none."""
        async with self.database.begin() as db:
            for platform_connection_id in await stored.unscheduled_connections(
                db, most=_AT_ONCE * 5
            ):
                account = await stored.account_of(db, platform_connection_id)
                if account.next_check_at is None:  # else another process has just chosen one
                    wait = _FIRST_WITHIN * random.random()  # noqa: S311
                    account.next_check_at = self.now() + wait

    async def _take(self) -> list[stored.DueConnection]:
        """Return the ids and server addresses of due connections, and mark them as taken."""
        now = self.now()
        async with self.database.begin() as db:
            return await stored.take_due_connections(
                db, now=now, until=now + _TAKEN_FOR, most=_AT_ONCE
            )
