"""Count what strangers can cause at will, in memory of bounded size."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from quart_app.model import AuditEvent

MOST_COUNTED = 100  # rows of one minute, and one more for each event that is counted


class CounterKey(NamedTuple):
    """What is counted together: no more than these three is kept of a refusal."""

    event: AuditEvent
    address: str | None
    user_id: int | None
    is_overflow: bool = False


@dataclass
class Count:
    """How often, and by which request last."""

    number: int
    request_id: str | None


class BoundedCounter:
    """Counts, until they are taken away to be written down."""

    def __init__(self) -> None:
        self._counts: dict[CounterKey, Count] = {}

    def add(self, counted: CounterKey, number: int = 1, request_id: str | None = None) -> None:
        """Count it; beyond the bound, with all others of its event, whoever they are."""
        if counted not in self._counts and len(self._counts) >= MOST_COUNTED:
            counted = CounterKey(counted.event, None, None, is_overflow=True)
        count = self._counts.setdefault(counted, Count(0, None))
        count.number += number
        count.request_id = request_id

    def take(self) -> list[tuple[CounterKey, Count]]:
        """Return the counts, and begin anew."""
        taken, self._counts = self._counts, {}
        return list(taken.items())

    def put_back(self, taken: Iterable[tuple[CounterKey, Count]]) -> None:
        """Go on with counts that could not be written down."""
        for counted, count in taken:
            self.add(counted, count.number, count.request_id)
