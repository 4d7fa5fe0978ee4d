"""A limit on how often one user lets this application ask other servers."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from quart_app.services.caller import Caller
from quart_app.services.platforms.errors import TooManyOutbound

MOST_REQUESTS: Final = 30  # of one user in one process, within WINDOW
WINDOW: Final = timedelta(minutes=10)
_MOST_USERS: Final = 10_000  # remembered: some megabytes


@dataclass(frozen=True)
class OutboundLimit:
    """Counts use cases that ask a server at once, by user, in this process."""

    now: Callable[[], datetime]
    _times: OrderedDict[int, deque[datetime]] = field(default_factory=OrderedDict)

    def count(self, caller: Caller) -> None:
        """Count one use. Raises TooManyOutbound, which says when to try again."""
        now = self.now()
        times = self._times.setdefault(caller.user_id, deque(maxlen=MOST_REQUESTS))
        self._times.move_to_end(caller.user_id)
        if len(self._times) > _MOST_USERS:
            self._times.popitem(last=False)
        if len(times) == MOST_REQUESTS and now - WINDOW < times[0] <= now:
            wait = times[0] + WINDOW - now
            raise TooManyOutbound(retry_after_seconds=max(1, math.ceil(wait.total_seconds())))
        times.append(now)
