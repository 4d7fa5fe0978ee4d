"""Changes of users' accounts are kept for an hour, for the pages that are open in browsers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

from quart_app.services.background.periodic import PeriodicTask
from quart_app.services.background.purging import Purging, purge_task
from quart_app.storage.changes import delete_old_changes

_KEPT_FOR: Final = timedelta(hours=1)  # a page that was disconnected for longer reloads the list


@dataclass(frozen=True)
class Changes:
    """The purge of the table of changes, which `Events` reads."""

    purging: Purging

    def periodic_tasks(self) -> Sequence[PeriodicTask]:
        """Return the hourly purge."""
        return [purge_task("changes", self.purge)]

    async def purge(self) -> None:
        """Delete changes that are older than an hour. Raises Unavailable."""
        before = await self.purging.now() - _KEPT_FOR
        await self.purging.delete(partial(delete_old_changes, before=before))
