"""Alerts as users see them: answer "it was me", or disown what happened."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from quart_app.errors import NotFound
from quart_app.model import AuditEvent, EndReason
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.background.periodic import PeriodicTask
from quart_app.services.background.purging import Purging, purge_task
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.services.identity.steps.alert_records import AlertRecords
from quart_app.services.sessions.steps.revoking import Revoking
from quart_app.session.follower import KEPT_AFTER_EXPIRY
from quart_app.storage import alerts as stored_alerts
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database


@dataclass(frozen=True, kw_only=True)
class Alerts:
    """Alerts of a user. Devices that were known before show them, until one of them answers.

    So the first alert that an intruder causes can be answered only on the user's own devices. After
    a new password no device is known, so every device shows that alert until it answers itself.
    """

    database: Database
    revoking: Revoking
    records: AlertRecords
    audit: AuditWriter
    purging: Purging

    def periodic_tasks(self) -> Sequence[PeriodicTask]:
        """Return the hourly purge."""
        return [purge_task("alerts", self.purge)]

    async def purge(self) -> None:
        """Delete alerts that expired a week ago. Raises Unavailable."""
        before = await self.purging.now() - KEPT_AFTER_EXPIRY
        await self.purging.delete(partial(stored_alerts.delete_expired_alerts, before=before))

    async def answer(self, caller: Caller, *, up_to: int) -> None:
        """Answer "it was me" to the alerts that this device shows, up to an id.

        No device shows an alert about a new device after that. An alert about the password is
        answered on each device for itself: an intruder who changed it can log in on another device,
        too. A device can't answer an alert that it does not show, nor an alert that asks for a new
        password.
        """
        async with self.database.begin() as db:
            if await stored_alerts.answer_alerts(db, caller.user_id, caller.sid, up_to=up_to):
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
        async with self.revoking.begin(caller) as revoker:
            user = await stored_users.user_by_id(revoker.db, caller.user_id, lock=True)
            if user is None or not user.is_active:
                raise NotFound
            await revoker.refuse_ended_caller()
            user.device_epoch += 1
            await revoker.end_all(user, EndReason.DISOWNED)
            await self.records.disowned(revoker.db, caller, user.id)
