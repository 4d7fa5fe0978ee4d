"""Alerts about a login on a new device or a changed password, for the user's other devices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import NotFound, NotLoggedIn
from quart_app.model import AlertKind, AuditEvent, EndReason
from quart_app.services.audit.addresses import shown_address
from quart_app.services.audit.audit import Audit
from quart_app.services.background.periodic import PeriodicTask
from quart_app.services.background.purging import Purging, purge_task
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.services.sessions.sessions import NewSession, Sessions
from quart_app.session.follower import KEPT_AFTER_EXPIRY
from quart_app.storage import alerts as stored_alerts
from quart_app.storage import users as stored_users

SHOWN_FOR: Final = timedelta(days=30)  # as long as a remembered session, by default
MOST_NEW_DEVICES: Final = 100  # alerts of one user that wait for an answer
# A new password answers these: somebody who knew the old password can no longer log in.
_ANSWERED_BY_A_NEW_PASSWORD: Final = (AlertKind.NEW_DEVICE, AlertKind.DISOWNED)


@dataclass(frozen=True, kw_only=True)
class Alerts:
    """Alerts of a user. Devices that were known before show them, until one of them answers.

    So the first alert that an intruder causes can be answered only on the user's own devices.
    """

    sessions: Sessions
    audit: Audit
    purging: Purging
    now: Callable[[], datetime]

    def periodic_tasks(self) -> Sequence[PeriodicTask]:
        """Return the hourly purge."""
        return [purge_task("alerts", self.purge)]

    async def purge(self) -> None:
        """Delete alerts that expired a week ago. Raises Unavailable."""
        before = await self.purging.now() - KEPT_AFTER_EXPIRY
        await self.purging.delete(partial(stored_alerts.delete_expired_alerts, before=before))

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

    async def answer(self, caller: Caller, *, up_to: int) -> None:
        """Answer "it was me" to the alerts that this device shows, up to an id.

        No device of the user shows them after that.
        A device can't answer an alert that it does not show, nor an alert that asks for a new
        password.
        """
        async with self.sessions.database.begin() as db:
            if await stored_alerts.delete_answered_alerts(
                db, caller.user_id, caller.sid, up_to=up_to
            ):
                await self.audit.record(
                    db, AuditEvent.ALERT_ANSWERED, caller, user_id=caller.user_id
                )

    @shielded
    async def disown(self, caller: Caller) -> None:
        """End every session of the user, including the caller's, and show an alert on every device.

        The request may come from somebody who stole the cookie, and it has no password. So all
        sessions end, all devices become unknown, and the alert stays until the password changes.
        Raises NotLoggedIn, NotFound.
        """
        async with self.sessions.ending(caller) as ending:
            user = await stored_users.user_by_id(ending.db, caller.user_id, lock=True)
            if user is None or not user.is_active:
                raise NotFound
            if await self.sessions.has_ended(ending.db, caller.login.ref):
                raise NotLoggedIn
            user.device_epoch += 1
            await ending.end_all(user, EndReason.DISOWNED)
            await stored_alerts.delete_alerts(ending.db, user.id, _ANSWERED_BY_A_NEW_PASSWORD)
            await self._add(ending.db, caller, user.id, AlertKind.DISOWNED)
