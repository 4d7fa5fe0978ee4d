"""Issue a session in an open transaction: its claims for the cookie, and its login record."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from quart_app.errors import Unavailable
from quart_app.model import EndReason, User
from quart_app.services.audit.addresses import shown_address
from quart_app.services.caller import DeviceRegistration
from quart_app.services.sessions.device_ids import new_device_id
from quart_app.services.sessions.new_session import CONNECTION_CLAIM, NewSession
from quart_app.services.sessions.steps.revoking import SessionRevoker
from quart_app.session.claims import CLOCK_TOLERANCE, new_session_id
from quart_app.session.revocations import RevocationList, epoch_at
from quart_app.storage import logins as stored_logins

MOST_LIVE_LOGINS: Final = 50  # of one user (OWASP ASVS 5.0, 7.1.2)


@dataclass(frozen=True, kw_only=True)
class SessionIssuer:
    """Issues sessions. Their absolute limits are `absolute` and `remember_absolute`."""

    revocations: RevocationList
    absolute: timedelta
    remember_absolute: timedelta
    now: Callable[[], datetime]

    async def issue(
        self,
        revoker: SessionRevoker,
        user: User,
        *,
        platform_connection_id: int | None,
        remember: bool,
    ) -> NewSession:
        """Return a session with a new id that nobody can guess, and record the login.

        The session is alive even if the clock, or a restored database, is behind the revocations.
        If the user has more than MOST_LIVE_LOGINS sessions, the oldest end.
        Raises Unavailable if clocks differ too much.
        """
        epoch = self._epoch_of(user)
        if epoch != user.session_epoch:
            user.session_epoch = epoch
        created_at = self._earliest_start()
        device_id = revoker.caller.device_id_for(user)
        session = NewSession(
            user_id=user.id,
            sid=new_session_id(),
            epoch=user.session_epoch,
            created_at=created_at,
            expires_at=created_at + (self.remember_absolute if remember else self.absolute),
            remember=remember,
            extra={CONNECTION_CLAIM: platform_connection_id},
            is_new_device=device_id is None,
            device=DeviceRegistration(
                user_id=user.id,
                device_id=device_id or new_device_id(),
                device_epoch=user.device_epoch,
            ),
        )
        await _record_login(revoker, session)
        await self._end_surplus(revoker, user)
        return session

    def _epoch_of(self, user: User) -> int:
        """Return the first epoch of the user's that no revocation ends."""
        return max(
            user.session_epoch,
            self.revocations.min_epoch(user.id),
            # After a restore, other processes may remember later epochs than the database does.
            # None is later than the "end all" that follows the restore.
            epoch_at(self.revocations.not_before),
        )

    def _earliest_start(self) -> datetime:
        """Return when a session begins: now, if clocks agree. Raises Unavailable."""
        start = self.revocations.earliest_start(self.now())
        if start > self.now() + CLOCK_TOLERANCE:  # it would be refused as future
            raise Unavailable(
                "Logins are not possible: this machine's clock is behind, or another's is ahead."
            )
        return start

    async def _end_surplus(self, revoker: SessionRevoker, user: User) -> None:
        surplus = await stored_logins.live_sessions_but_for_newest(
            revoker.db, user.id, self.now(), number=MOST_LIVE_LOGINS
        )
        await revoker.end_each(surplus, EndReason.TOO_MANY)


async def _record_login(revoker: SessionRevoker, session: NewSession) -> None:
    caller = revoker.caller
    await stored_logins.add_login(
        revoker.db,
        {
            "sid": session.sid,
            "user_id": session.user_id,
            "created_at": session.created_at,
            "expires_at": session.expires_at,
            "address": shown_address(caller.address),
            "user_agent": caller.shown_user_agent,
            "device_id": session.device.device_id,
        },
        is_new_device=session.is_new_device,
    )
