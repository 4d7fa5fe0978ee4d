"""Begin and end sessions: the claims for the cookie, and the revocations that end them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import NotFound, NotLoggedIn, Unavailable
from quart_app.model import (
    AuditEvent,
    EndReason,
    User,
)
from quart_app.services.audit.addresses import shown_address
from quart_app.services.audit.audit import Audit
from quart_app.services.background.shielding import run_in_background, shielded
from quart_app.services.caller import Caller, KnownDevice
from quart_app.services.sessions.device_ids import new_device_id
from quart_app.session.claims import CLOCK_TOLERANCE, IssuedSession, SessionRef, new_session_id
from quart_app.session.purge_clock import database_now
from quart_app.session.revocations import (
    NewRevocation,
    RevocationList,
    RevocationRow,
    epoch_at,
)
from quart_app.storage import alerts as stored_alerts
from quart_app.storage import logins as stored_logins
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database
from quart_app.storage.revocations import add_revocations

MOST_LIVE_LOGINS = 50  # of one user (OWASP ASVS 5.0, 7.1.2)
CONNECTION_CLAIM: Final = "platform_connection_id"
_MARKED_AT_ONCE = 1000  # logins: some milliseconds of the write lock


@dataclass(frozen=True, kw_only=True)
class NewSession(IssuedSession):
    """A session that has just begun. The web layer signs it into the browser's cookie."""

    is_new_device: bool
    device: KnownDevice

    @property
    def platform_connection_id(self) -> int | None:
        """The connection that the session begins with, if any."""
        connection_id: int | None = self.extra[CONNECTION_CLAIM]
        return connection_id


@dataclass(frozen=True, kw_only=True)
class Ending:
    """A transaction that ends sessions. It writes their revocations last."""

    db: AsyncSession
    caller: Caller
    audit: Audit
    now: datetime
    longest: timedelta
    revocations: list[NewRevocation] = field(default_factory=list)

    async def end(self, session: SessionRef, reason: EndReason) -> None:
        """End one session, unless it has ended: each end is recorded once.

        If several transactions end it at once, the first ends it and the others wait for that.
        """
        whose = await stored_logins.mark_login_ended(
            self.db, session.sid, at=self.now, reason=reason
        )
        if whose is None:
            if not await self._record_unknown(session, reason):
                return
            whose = session.user_id
        # The client with the session's cookie counts as its user.
        by_itself = reason in {EndReason.LOGGED_OUT, EndReason.REPLACED}
        await self._record(
            reason, user_id=whose, actor_user_id=whose if by_itself else None, sid=session.sid
        )
        self._add(reason, session.expires_at, sid=session.sid)

    async def end_each(self, sessions: Iterable[SessionRef], reason: EndReason) -> None:
        """End sessions in a fixed order, so that transactions with the same sessions take turns."""
        for session in sorted(sessions, key=lambda each: each.sid):
            await self.end(session, reason)

    async def _record_unknown(self, session: SessionRef, reason: EndReason) -> bool:
        """Tell whether a session is alive although no login is recorded that could be marked.

        The row was deleted, or a backup was restored. An ended login is recorded for it, so that
        the second call returns False.
        """
        if await stored_logins.is_login_recorded(self.db, session.sid):
            return False
        if session.user_id is None:
            return True
        user = await stored_users.user_by_id(self.db, session.user_id)
        if user is None:
            return True
        if session.epoch is not None and session.epoch < user.session_epoch:
            return False
        return await stored_logins.add_ended_login(
            self.db,
            {
                "sid": session.sid,
                "user_id": user.id,
                "created_at": session.created_at or self.now,
                "expires_at": session.expires_at,
                "ended_at": self.now,
                "end_reason": reason,
            },
        )

    async def end_all(self, user: User, reason: EndReason) -> None:
        """End every session of the user. Later sessions are alive, even in this transaction."""
        user.session_epoch = self.next_epoch(user.session_epoch)
        await stored_logins.mark_logins_ended(self.db, user.id, at=self.now, reason=reason)
        await self._record(reason, user_id=user.id, ended="all")
        until = await self._latest_expiry(user.id)
        self._add(reason, until, user_id=user.id, epoch=user.session_epoch)

    async def end_everybodys(self, reason: EndReason) -> datetime:
        """End every session of every user. Return the cut-off: sessions that began earlier end."""
        database_time = await database_now(self.db)
        if abs(self.now - database_time) > CLOCK_TOLERANCE:
            raise Unavailable(
                "This machine's clock and the database's differ by more than a minute:"
                " set them right first. Nothing has ended."
            )
        not_before = max(self.now, database_time)
        await self._record(reason, user_id=None, ended="everybody's")
        self._add(reason, await self._latest_expiry(None), not_before=not_before)
        return not_before

    def next_epoch(self, epoch: int) -> int:
        """Return an epoch after this one, and after all that a restored database lacks."""
        return max(epoch + 1, epoch_at(self.now))

    async def _latest_expiry(self, user_id: int | None) -> datetime:
        """Return when the last of the sessions would have expired.

        Their rows decide: other settings may have applied when they began.
        """
        latest = await stored_logins.latest_expiry(self.db, user_id)
        return max(latest or self.now, self.now + self.longest)

    async def _record(
        self,
        reason: EndReason,
        *,
        user_id: int | None,
        actor_user_id: int | None = None,
        sid: str | None = None,
        ended: str = "one",
    ) -> None:
        is_logout = reason is EndReason.LOGGED_OUT
        event = AuditEvent.LOGOUT if is_logout else AuditEvent.SESSIONS_ENDED
        await self.audit.record(
            self.db,
            event,
            self.caller,
            user_id=user_id,
            actor_user_id=actor_user_id,
            sid=sid,
            detail={"ended": ended, "reason": reason},
        )

    def _add(self, reason: EndReason, expires_at: datetime, **what: Any) -> None:
        self.revocations.append(
            NewRevocation(reason=reason, expires_at=expires_at, created_at=self.now, **what)
        )


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Begins and ends sessions. The absolute limits are `absolute` and `remember_absolute`.

    A session ends in this process before its use case returns, and in all others within a second.
    """

    database: Database
    revocations: RevocationList
    audit: Audit
    absolute: timedelta
    remember_absolute: timedelta
    now: Callable[[], datetime]

    async def begin(
        self,
        ending: Ending,
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
        user.session_epoch = max(
            user.session_epoch,
            self.revocations.min_epoch(user.id),
            # After a restore, other processes may remember later epochs than the database does.
            # None is later than the "end all" that follows the restore.
            epoch_at(self.revocations.not_before),
        )
        created_at = self.revocations.earliest_start(self.now())
        if created_at > self.now() + CLOCK_TOLERANCE:  # it would be refused as future
            raise Unavailable(
                "Nobody can log in: this machine's clock is behind, or another ahead."
            )
        device_id = ending.caller.device_id_for(user)
        if device_id is None:  # a new device shows no alerts about earlier logins
            alerts_seen = await stored_alerts.last_alert_id(ending.db, user.id)
        else:
            alerts_seen = await stored_alerts.alerts_seen_on(ending.db, user.id, device_id)
        session = NewSession(
            user_id=user.id,
            sid=new_session_id(),
            epoch=user.session_epoch,
            created_at=created_at,
            expires_at=created_at + (self.remember_absolute if remember else self.absolute),
            remember=remember,
            extra={CONNECTION_CLAIM: platform_connection_id},
            is_new_device=device_id is None,
            device=KnownDevice(
                user_id=user.id,
                device_id=device_id or new_device_id(),
                device_epoch=user.device_epoch,
            ),
        )
        await stored_logins.add_login(
            ending.db,
            {
                "sid": session.sid,
                "user_id": user.id,
                "created_at": session.created_at,
                "expires_at": session.expires_at,
                "address": shown_address(ending.caller.address),
                "user_agent": ending.caller.shown_user_agent,
                "device_id": session.device.device_id,
                "alerts_seen": alerts_seen,
            },
        )
        for login in await stored_logins.live_logins(
            ending.db, user.id, self.now(), but_for_newest=MOST_LIVE_LOGINS
        ):
            await ending.end(
                SessionRef(sid=login.sid, expires_at=login.expires_at), EndReason.TOO_MANY
            )
        return session

    @asynccontextmanager
    async def ending(self, caller: Caller) -> AsyncIterator[Ending]:
        """Open a transaction that ends sessions. This process applies their end after the commit.

        Raises Unavailable if the commit fails; then no session has ended.
        """
        async with self.database.begin() as db:
            longest = max(self.absolute, self.remember_absolute)
            ending = Ending(db=db, caller=caller, audit=self.audit, now=self.now(), longest=longest)
            yield ending
            rows = await add_revocations(db, ending.revocations) if ending.revocations else []
        self.revocations.apply(rows)

    async def has_ended(self, db: AsyncSession, session: SessionRef) -> bool:
        """Tell whether a session has ended, even if its revocation is not in our list yet."""
        if self.revocations.has_ended(session.sid):
            return True
        if session.user_id is not None and session.epoch is not None:
            oldest = self.revocations.min_epoch(session.user_id)
            if session.epoch < oldest:
                return True
        return await stored_logins.has_login_ended(db, session.sid)

    @shielded
    async def end(self, caller: Caller, *sessions: SessionRef) -> None:
        """End the sessions of a user who logs out, unless they have ended already."""
        alive = [each for each in sessions if not self.revocations.has_ended(each.sid)]
        if not alive:
            return
        async with self.ending(caller) as ending:
            await ending.end_each(alive, EndReason.LOGGED_OUT)
        # Another process may have just ended one: end it here, too, before this returns.
        self.revocations.apply(
            RevocationRow(0, each.sid, None, None, None, each.expires_at, EndReason.LOGGED_OUT)
            for each in alive
        )

    @shielded
    async def end_all(self, caller: Caller, reason: EndReason) -> None:
        """End every session of the caller's user, unless the caller's session ended meanwhile.

        Raises NotFound, NotLoggedIn.
        """
        async with self.ending(caller) as ending:
            user = await stored_users.user_by_id(ending.db, caller.user_id, lock=True)
            if user is None:
                raise NotFound
            if await self.has_ended(ending.db, caller.login.ref):
                raise NotLoggedIn
            await ending.end_all(user, reason)

    @shielded
    async def end_everybodys(
        self, caller: Caller, check: Callable[[AsyncSession], Awaitable[None]] | None = None
    ) -> None:
        """End every session of every user.

        This is needed after a restore, which makes ended sessions alive again.
        `check` runs in the same transaction, and may raise to refuse.
        """
        async with self.ending(caller) as ending:
            if check is not None:
                await check(ending.db)
            not_before = await ending.end_everybodys(EndReason.ADMINISTRATOR)
        run_in_background(self._mark_ended(ending.now, not_before))

    async def _mark_ended(self, at: datetime, not_before: datetime) -> None:
        """Mark each login as ended. For millions of logins that takes a while."""
        marked = _MARKED_AT_ONCE
        while marked == _MARKED_AT_ONCE:
            async with self.database.begin() as db:
                marked = await stored_logins.mark_some_ended(
                    db,
                    at=at,
                    reason=EndReason.ADMINISTRATOR,
                    not_after=not_before,
                    most=_MARKED_AT_ONCE,
                )
