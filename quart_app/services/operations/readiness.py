"""Readiness of this process, for load balancers and supervisors."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

from quart_app.errors import Unavailable
from quart_app.session.revocations import RevocationList
from quart_app.storage.database import Database
from quart_app.storage.schema import SchemaRefused, is_usable, newest_revision, schema_revision
from quart_app.storage.writability import is_writable

_REMEMBERED_SECONDS: Final = 1.0
_NO_DATABASE: Final = "The database does not answer, or can't be written to."


@dataclass
class Readiness:
    """Checks the database, its schema, and that the revocation list is fresh.

    The route is public, so the database is queried at most once a second, whatever the load.
    """

    database: Database
    revocations: RevocationList
    _checking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)
    _is_stopping: bool = field(default=False, init=False)
    _reasons: list[str] = field(default_factory=list, init=False)
    _expires_at: float = field(default=0.0, init=False)  # by the monotonic clock

    def stop(self) -> None:
        """Be not ready from now on, so that a load balancer sends no more requests."""
        self._is_stopping = True

    async def reasons_not_ready(self) -> list[str]:
        """Return one sentence for each problem. An empty list means ready."""
        if self._is_stopping:
            return ["The process is stopping."]
        async with self._checking:
            if time.monotonic() >= self._expires_at:
                self._reasons = await self._problems_of_database()
                self._expires_at = time.monotonic() + _REMEMBERED_SECONDS
        if self._reasons:
            return self._reasons
        if not self.revocations.is_fresh():
            return ["The revocation list is stale, so it is unknown which sessions have ended."]
        return []

    async def _problems_of_database(self) -> list[str]:
        try:
            revision = await schema_revision(self.database)
            if not is_usable(revision):
                at = f"at revision {revision}" if revision else "not set up"
                needed = newest_revision()
                command = "`.venv/bin/python -m quart_app db upgrade`"
                return [f"The database is {at}, and this code needs {needed}: run {command}."]
            return [] if await is_writable(self.database) else [_NO_DATABASE]
        except Unavailable:
            return [_NO_DATABASE]
        except SchemaRefused as error:
            return [error.sentence]
