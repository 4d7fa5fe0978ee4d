"""Alert a user's other devices, in the transaction of the event that they are alerted to."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import AlertKind
from quart_app.services.audit.addresses import shown_address
from quart_app.services.caller import Caller
from quart_app.services.sessions.new_session import NewSession
from quart_app.storage import alerts as stored_alerts

SHOWN_FOR: Final = timedelta(days=30)  # as long as a remembered session, by default
MOST_NEW_DEVICES: Final = 100  # alerts of one user that wait for an answer
# A new password answers these: somebody who knew the old password can no longer log in.
_ANSWERED_BY_A_NEW_PASSWORD: Final = (AlertKind.NEW_DEVICE, AlertKind.DISOWNED)


@dataclass(frozen=True)
class AlertRecords:
    """Writes alerts about a login on a new device, a new password, or a disowned event."""

    now: Callable[[], datetime]

    async def new_device(self, db: AsyncSession, caller: Caller, session: NewSession) -> None:
        """Alert the user's other devices to a login, in its transaction, under the user's lock.

        Beyond MOST_NEW_DEVICES, new alerts are dropped, not old ones: an intruder who logs in
        again and again can't push out the alert about their first login.
        """
        row = self._row(caller, session.user_id, AlertKind.NEW_DEVICE, session.device.device_id)
        await stored_alerts.add_alert_of_few(db, row, most=MOST_NEW_DEVICES)

    async def password_changed(self, db: AsyncSession, caller: Caller, session: NewSession) -> None:
        """Alert the user's other devices; the new password answers everything before it."""
        await stored_alerts.delete_alerts(db, session.user_id)
        await self._add(
            db, caller, session.user_id, AlertKind.PASSWORD_CHANGED, session.device.device_id
        )

    async def password_reset(
        self, db: AsyncSession, caller: Caller, user_id: int, device_id: str | None = None
    ) -> None:
        """Alert the user, except on the device where they set the password themselves, if any.

        The alert about an earlier password change stays: that change may have locked the user out.
        """
        await stored_alerts.delete_alerts(db, user_id, _ANSWERED_BY_A_NEW_PASSWORD)
        await self._add(db, caller, user_id, AlertKind.PASSWORD_RESET, device_id)

    async def disowned(self, db: AsyncSession, caller: Caller, user_id: int) -> None:
        """Show every device that the user disowned what happened, until the password changes."""
        await stored_alerts.delete_alerts(db, user_id, _ANSWERED_BY_A_NEW_PASSWORD)
        await self._add(db, caller, user_id, AlertKind.DISOWNED)

    async def _add(
        self,
        db: AsyncSession,
        caller: Caller,
        user_id: int,
        kind: AlertKind,
        device_id: str | None = None,
    ) -> None:
        await stored_alerts.add_alert(db, self._row(caller, user_id, kind, device_id))

    def _row(
        self, caller: Caller, user_id: int, kind: AlertKind, device_id: str | None
    ) -> dict[str, Any]:
        return {
            "user_id": user_id,
            "kind": kind,
            "created_at": self.now(),
            "expires_at": self.now() + SHOWN_FOR,
            "address": shown_address(caller.address),
            "user_agent": caller.shown_user_agent,
            "device_id": device_id,
        }
