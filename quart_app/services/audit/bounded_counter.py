"""Count what strangers can cause at will, in memory of bounded size."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from quart_app.model import AuditEvent

MOST_COUNTED = 100  # rows of one minute, and one more for each event that is counted


class CounterKey(NamedTuple):
    """The key of a count. Nothing else about a refusal is kept, except the last request's id."""

    event: AuditEvent
    address: str | None
    user_id: int | None
    is_overflow: bool = False


@dataclass
class Count:
    """The number of refusals, and the id of the last request."""

    number: int
    request_id: str | None


class BoundedCounter:
    """Counts in memory, until they are taken to be stored."""

    def __init__(self) -> None:
        self._counts: dict[CounterKey, Count] = {}

    def add(self, counted: CounterKey, number: int = 1, request_id: str | None = None) -> None:
        """Add to a count. Beyond the bound, all new keys of an event share one count."""
        if counted not in self._counts and len(self._counts) >= MOST_COUNTED:
            counted = CounterKey(counted.event, None, None, is_overflow=True)
        count = self._counts.setdefault(counted, Count(0, None))
        count.number += number
        count.request_id = request_id

    def take(self) -> list[tuple[CounterKey, Count]]:
        """Return the counts, and start again from zero."""
        taken, self._counts = self._counts, {}
        return list(taken.items())

    def put_back(self, taken: Iterable[tuple[CounterKey, Count]]) -> None:
        """Add counts back that could not be stored."""
        for counted, count in taken:
            self.add(counted, count.number, count.request_id)
