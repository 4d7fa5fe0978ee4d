"""Can this process answer? Asked by whoever sends it requests."""

from dataclasses import dataclass

from quart_app.errors import Unavailable
from quart_app.services.revocations import Revocations
from quart_app.storage.database import Database
from quart_app.storage.schema import SchemaRefused, newest_revision, schema_revision


@dataclass(frozen=True)
class Readiness:
    """Whether the database answers, has the schema we need, and tells us what has ended."""

    database: Database
    revocations: Revocations

    async def reasons_not_ready(self) -> list[str]:
        """Return one sentence for each thing that stands in the way; none means ready."""
        try:
            revision = await schema_revision(self.database)
        except Unavailable:
            return ["The database does not answer, or can not be written to."]
        except SchemaRefused as error:
            return [error.sentence]
        if revision != (newest := newest_revision()):
            at = f"at revision {revision}" if revision else "not set up"
            command = "`python -m quart_app db upgrade`"
            return [f"The database is {at}, and this code needs {newest}: run {command}."]
        if not self.revocations.is_fresh():
            return ["What sessions have ended is not known just now."]
        return []
