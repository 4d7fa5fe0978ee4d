"""Login records are kept for a week after their sessions would have expired, then deleted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from quart_app.services.background.periodic import PeriodicTask
from quart_app.services.background.purging import Purging, purge_task
from quart_app.session.follower import KEPT_AFTER_EXPIRY
from quart_app.storage.logins import (
    delete_ended_logins_of,
    delete_expired_logins,
    users_with_most_logins,
)

ENDED_KEPT: Final = 1000  # of one user; older ones serve no page
_ENDED_KEPT_FOR: Final = timedelta(hours=1)  # at least: a user's logins within an hour are counted


@dataclass(frozen=True)
class LoginRecords:
    """The purge of the table of logins, which `Sessions` writes."""

    purging: Purging

    def periodic_tasks(self) -> Sequence[PeriodicTask]:
        """Return the hourly purge."""
        return [purge_task("logins", self.purge)]

    async def purge(self) -> None:
        """Delete records that expired a week ago, and old ended records.

        Beyond ENDED_KEPT ended records of a user, the oldest are deleted. Raises Unavailable.
        """
        now = await self.purging.now()
        await self.purging.delete(partial(delete_expired_logins, before=now - KEPT_AFTER_EXPIRY))
        async with self.purging.database.read() as db:
            user_ids = await users_with_most_logins(db, more_than=ENDED_KEPT)
        for user_id in user_ids:
            await self.purging.delete(
                partial(
                    delete_ended_logins_of,
                    user_id=user_id,
                    before=now - _ENDED_KEPT_FOR,
                    but_for_newest=ENDED_KEPT,
                )
            )
