"""End sessions in an open transaction: the login records, the audit log and the revocations."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import NotLoggedIn, Unavailable
from quart_app.model import AuditEvent, EndReason, Login, User
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.session.claims import CLOCK_TOLERANCE, SessionRef
from quart_app.session.purge_clock import database_now
from quart_app.session.revocations import NewRevocation, RevocationList, RevocationRow, epoch_at
from quart_app.storage import logins as stored_logins
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database
from quart_app.storage.revocations import add_revocations

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SessionRevoker:
    """A transaction that ends sessions. It writes their revocations last."""

    db: AsyncSession
    caller: Caller
    audit: AuditWriter
    known: RevocationList  # this process's list
    now: datetime
    longest: timedelta
    pending: list[NewRevocation] = field(default_factory=list)

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

    async def end_login(self, login: Login, reason: EndReason) -> None:
        """End the session of a login record."""
        await self.end(SessionRef(sid=login.sid, expires_at=login.expires_at), reason)

    async def end_each(self, sessions: Iterable[SessionRef], reason: EndReason) -> None:
        """End sessions in a fixed order, so that transactions with the same sessions take turns."""
        for session in sorted(sessions, key=lambda each: each.sid):
            await self.end(session, reason)

    async def _record_unknown(self, session: SessionRef, reason: EndReason) -> bool:
        """Return whether a session is alive although no login is recorded that could be marked.

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
                "This machine's clock and the database's differ by more than a minute."
                " Correct them first. No sessions were ended."
            )
        not_before = max(self.now, database_time)
        await self._record(reason, user_id=None, ended="everybody's")
        self._add(reason, await self._latest_expiry(None), not_before=not_before)
        return not_before

    def next_epoch(self, epoch: int) -> int:
        """Return an epoch after this one, and after all that a restored database lacks."""
        return max(epoch + 1, epoch_at(self.now))

    async def refuse_ended_caller(self) -> None:
        """Raise NotLoggedIn if the caller's session has ended.

        The database decides, too: the revocation may not be in this process's list yet.
        """
        session = self.caller.login.ref
        is_older = (
            session.user_id is not None
            and session.epoch is not None
            and session.epoch < self.known.min_epoch(session.user_id)
        )
        if (
            is_older
            or self.known.has_ended(session.sid)
            or await stored_logins.has_login_ended(self.db, session.sid)
        ):
            raise NotLoggedIn

    async def write(self) -> Sequence[RevocationRow]:
        """Write the revocations, as the last statement of the transaction, and return them."""
        return await add_revocations(self.db, self.pending) if self.pending else ()

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
        self.pending.append(
            NewRevocation(reason=reason, expires_at=expires_at, created_at=self.now, **what)
        )


@dataclass(frozen=True, kw_only=True)
class Revoking:
    """Opens the transactions that end sessions. No session lasts longer than `longest`."""

    database: Database
    revocations: RevocationList
    audit: AuditWriter
    longest: timedelta
    now: Callable[[], datetime]

    @asynccontextmanager
    async def begin(self, caller: Caller) -> AsyncIterator[SessionRevoker]:
        """Open a transaction that ends sessions. This process applies their end after the commit.

        A session ends in this process before the block is over, and in all others within a second.
        Raises Unavailable if the commit fails; then no session has ended.
        """
        async with self.database.begin() as db:
            revoker = self._revoker(db, caller)
            yield revoker
            rows = await revoker.write()
        self.revocations.apply(rows)

    async def run_in_transaction(
        self, caller: Caller, work: Callable[[SessionRevoker], Coroutine[Any, Any, T]]
    ) -> T:
        """Do what `begin` does, with a function that Database.run_in_transaction can run."""

        async def transaction(db: AsyncSession) -> tuple[T, Sequence[RevocationRow]]:
            revoker = self._revoker(db, caller)
            return await work(revoker), await revoker.write()

        result, rows = await self.database.run_in_transaction(transaction)
        self.revocations.apply(rows)
        return result

    def _revoker(self, db: AsyncSession, caller: Caller) -> SessionRevoker:
        return SessionRevoker(
            db=db,
            caller=caller,
            audit=self.audit,
            known=self.revocations,
            now=self.now(),
            longest=self.longest,
        )
