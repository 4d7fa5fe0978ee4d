"""The composition of what metrics show."""

from collections.abc import Sequence

from quart_app.composition.parts import Parts
from quart_app.services import Services
from quart_app.services.background.periodic import PeriodicTask
from quart_app.services.operations.measurements import Measurements


def measurements_of(
    parts: Parts, services: Services, tasks: Sequence[PeriodicTask]
) -> Measurements:
    """Return the objects whose state metrics show."""
    databases = {"requests": parts.database, "follower": parts.follower_database}
    if parts.listen_database is not None:
        databases["listen"] = parts.listen_database
    return Measurements(
        hashing_queue=parts.hashing_queue,
        login_results=parts.login_results,
        revocations=parts.revocations,
        events=services.events,
        databases=databases,
        tasks=tasks,
    )
