"""Attempts to connect accounts are deleted when they have expired."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from quart_app.services.background.periodic import PeriodicTask
from quart_app.services.background.purging import Purging, purge_task
from quart_app.services.platforms.steps.apps import REGISTRATION_WINDOW
from quart_app.storage.authorizations import delete_expired_authorizations
from quart_app.storage.platform_apps import delete_old_registrations


@dataclass(frozen=True)
class AttemptPurges:
    """The purge of the tables that `Authorizations` and `Apps` write."""

    purging: Purging

    def periodic_tasks(self) -> Sequence[PeriodicTask]:
        """Return the hourly purge."""
        return [purge_task("authorizations", self.purge)]

    async def purge(self) -> None:
        """Delete expired authorizations, and registrations that are no longer counted.

        Shared apps stay. Raises Unavailable.
        """
        now = await self.purging.now()
        await self.purging.delete(partial(delete_expired_authorizations, before=now))
        await self.purging.delete(
            partial(delete_old_registrations, before=now - REGISTRATION_WINDOW)
        )
