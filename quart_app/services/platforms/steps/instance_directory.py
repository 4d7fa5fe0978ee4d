"""Recognized servers, remembered for a while, so that a busy server is not asked each time."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.types import Instance
from quart_app.services.platforms.steps.single_flight import SingleFlight

_REMEMBERED_FOR: Final = timedelta(minutes=10)
_MOST_REMEMBERED: Final = 1000  # servers: some hundred kilobytes


@dataclass(frozen=True)
class InstanceDirectory:
    """Recognizes servers, and remembers in this process what it found."""

    fediverse: Fediverse
    now: Callable[[], datetime]
    _found: OrderedDict[str, tuple[datetime, Instance]] = field(default_factory=OrderedDict)
    _under_way: SingleFlight[Instance] = field(default_factory=SingleFlight)

    async def instance_at(self, host: str) -> Instance:
        """Return the server at `host[:port]`. Raises what `Fediverse.recognize` raises."""
        now = self.now()
        found = self._found.get(host)
        if found is not None and now - _REMEMBERED_FOR < found[0] <= now:
            return found[1]

        async def recognize() -> Instance:
            return await self.fediverse.recognize(host)

        instance = await self._under_way.run(host, recognize)
        self._found[host] = (now, instance)
        self._found.move_to_end(host)
        if len(self._found) > _MOST_REMEMBERED:
            self._found.popitem(last=False)
        return instance
