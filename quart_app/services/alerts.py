"""What users are told of: a login from a new device, a password that changed; and their answer."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import NotFound, NotLoggedIn
from quart_app.model import Alert, AlertKind, EndReason
from quart_app.services.sessions import Continued, Device, NewSession, OldSession, Sessions
from quart_app.services.uninterrupted import uninterrupted
from quart_app.storage import alerts as stored_alerts
from quart_app.storage import users as stored_users

TOLD_FOR: Final = timedelta(days=30)  # as long as the longest session lasts


@dataclass(frozen=True)
class Alerts:
    """Kept with a user and told on each of their devices, but for the one it comes from.

    So whoever got in can answer them on their own device only.
    """

    sessions: Sessions
    now: Callable[[], datetime]

    async def add(self, db: AsyncSession, user_id: int, kind: AlertKind, device: Device) -> Alert:
        """Tell a user, in this transaction, which holds the user's lock."""
        alert = Alert(
            user_id=user_id,
            kind=kind,
            created_at=self.now(),
            expires_at=self.now() + TOLD_FOR,
            address=device.shown_address,
            user_agent=device.shown_user_agent,
            device_id=device.id,
        )
        db.add(alert)
        await db.flush()
        return alert

    async def answered(self, db: AsyncSession, session: NewSession, alert: Alert) -> None:
        """Tell a session that has just begun nothing up to this alert."""
        await stored_alerts.mark_alerts_seen(db, session.user_id, session.sid, up_to=alert.id)

    async def answer(self, user_id: int, sid: str, *, up_to: int) -> None:
        """Write down that it was the user: on this device, what is not newer is told no more."""
        async with self.sessions.database.begin() as db:
            await stored_alerts.mark_alerts_seen(db, user_id, sid, up_to=up_to)

    @uninterrupted
    async def disown(
        self,
        user_id: int,
        *,
        asked_by: OldSession,
        continued: Continued,
        platform_connection_id: int | None,
        device: Device,
    ) -> NewSession:
        """End every session of the user; the browser that asks goes on in another one.

        That lasts no longer than the one it had, and is no fresh login: no password was given. What
        the user was told stays until the password is changed. Raises NotLoggedIn, NotFound.
        """
        async with self.sessions.ending() as ending:
            user = await stored_users.user_by_id(ending.db, user_id, lock=True)
            if user is None or not user.is_active:
                raise NotFound
            if await self.sessions.has_ended(ending.db, asked_by):
                raise NotLoggedIn
            await ending.end_all(user, EndReason.DISOWNED)
            return await self.sessions.begin(
                ending,
                user,
                platform_connection_id=platform_connection_id,
                remember=continued.remember,
                device=device,
                continued=continued,
            )
