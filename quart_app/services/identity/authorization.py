"""Authorization: whether a caller may administer."""

from dataclasses import dataclass

from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.services.identity.steps.rights import require_admin
from quart_app.storage.database import Database


@dataclass(frozen=True)
class Authorization:
    """Checks a right before a page or form is shown. Each change checks it again."""

    database: Database
    audit: AuditWriter

    async def check(self, caller: Caller) -> None:
        """Make sure that the caller is an administrator. Raises the errors of `require_admin`."""
        async with self.database.read() as db:
            await require_admin(db, caller, self.audit)
