"""What users are told of: a login from a new device, a password that changed; and their answer."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import NotFound, NotLoggedIn
from quart_app.model import AlertKind, AuditEvent, EndReason
from quart_app.services.audit import Audit
from quart_app.services.known_devices import UNKNOWN_DEVICE, Device
from quart_app.services.sessions import NewSession, OldSession, Sessions
from quart_app.services.uninterrupted import uninterrupted
from quart_app.storage import alerts as stored_alerts
from quart_app.storage import users as stored_users

TOLD_FOR: Final = timedelta(days=30)  # as long as the longest session lasts


@dataclass(frozen=True)
class Alerts:
    """Kept with a user and told on each of their devices, but for the one it comes from.

    So whoever got in by the password can answer them on their own device only.
    """

    sessions: Sessions
    audit: Audit
    now: Callable[[], datetime]

    async def add(
        self,
        db: AsyncSession,
        user_id: int,
        kind: AlertKind,
        device: Device = UNKNOWN_DEVICE,
        *,
        device_id: str | None = None,
    ) -> int:
        """Tell a user, in this transaction, which holds the user's lock; return the alert's id."""
        return await stored_alerts.add_alert(
            db,
            {
                "user_id": user_id,
                "kind": kind,
                "created_at": self.now(),
                "expires_at": self.now() + TOLD_FOR,
                "address": device.shown_address,
                "user_agent": device.shown_user_agent,
                "device_id": device_id,
            },
        )

    async def password_changed(self, db: AsyncSession, session: NewSession, device: Device) -> None:
        """Tell the user's other devices; for this one, a new password answers all there was."""
        alert_id = await self.add(
            db,
            session.user_id,
            AlertKind.PASSWORD_CHANGED,
            device,
            device_id=session.device.device_id,
        )
        await stored_alerts.mark_alerts_seen(db, session.user_id, session.sid, up_to=alert_id)

    async def answer(self, user_id: int, sid: str, *, up_to: int) -> None:
        """Write down that it was the user: on this device, what is not newer is told no more."""
        async with self.sessions.database.begin() as db:
            await stored_alerts.mark_alerts_seen(db, user_id, sid, up_to=up_to)
            await self.audit.record(db, AuditEvent.ALERT_ANSWERED, user_id=user_id)

    @uninterrupted
    async def disown(self, user_id: int, *, asked_by: OldSession, device: Device) -> None:
        """End every session of the user, the asking one, too; tell all devices why.

        Whoever asks may be a thief, and has given no password: so nobody goes on, and no device is
        known any more. What the user was told stays until the password is changed, or answered.
        Raises NotLoggedIn, NotFound.
        """
        async with self.sessions.ending() as ending:
            user = await stored_users.user_by_id(ending.db, user_id, lock=True)
            if user is None or not user.is_active:
                raise NotFound
            if await self.sessions.has_ended(ending.db, asked_by):
                raise NotLoggedIn
            user.device_epoch += 1
            await ending.end_all(user, EndReason.DISOWNED)
            await self.add(ending.db, user_id, AlertKind.DISOWNED, device)
