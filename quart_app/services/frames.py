"""What stands around the content of every page of a user: who they are, and what they are told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from quart_app.model import Alert, User
from quart_app.storage import alerts as stored_alerts
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database

MOST_ALERTS: Final = 5  # on one page, the oldest first: none is answered that was not shown


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The user, and alerts not answered on this device, oldest first; later ones if `has_more`."""

    user: User
    alerts: Sequence[Alert]
    has_more: bool


@dataclass(frozen=True)
class Frames:
    """The frame of a page, in one transaction."""

    database: Database
    now: Callable[[], datetime]

    async def frame_of(self, user_id: int, sid: str) -> Frame | None:
        """Return a session's frame; None where the account is gone or inactive."""
        async with self.database.read() as db:
            user = await stored_users.user_by_id(db, user_id)
            if user is None or not user.is_active:
                return None
            alerts = await stored_alerts.waiting_alerts(
                db, user_id, sid, self.now(), most=MOST_ALERTS + 1
            )
        return Frame(user=user, alerts=alerts[:MOST_ALERTS], has_more=len(alerts) > MOST_ALERTS)
