"""The state of this process that metrics show. It is read at each scrape, and takes no query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quart_app.services.background.periodic import PeriodicTask
from quart_app.services.identity.hashing_queue import FairQueue
from quart_app.services.identity.login_results import LoginResults
from quart_app.services.sessions.events import Events
from quart_app.session.revocations import RevocationList
from quart_app.storage.database import Database, PoolUsage


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """The objects whose state metrics show; databases by the purpose of their connections."""

    hashing_queue: FairQueue
    login_results: LoginResults
    revocations: RevocationList
    events: Events
    databases: Mapping[str, Database]
    tasks: Sequence[PeriodicTask]

    def pools(self) -> dict[str, PoolUsage]:
        """Return the connection pools by purpose."""
        usages = {name: database.pool_usage() for name, database in self.databases.items()}
        return {name: usage for name, usage in usages.items() if usage is not None}
