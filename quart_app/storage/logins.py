"""Queries about login records."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import Alert, EndReason, Login
from quart_app.session.claims import SessionRef

_TABLE: Final = Login.table()
# Every login executes these. They are built once, and of tables: building one, or reading objects
# instead of rows, costs more than executing it.
_LIVE_SESSIONS: Final = (
    select(_TABLE.c.sid, _TABLE.c.expires_at)
    .where(
        _TABLE.c.user_id == bindparam("whose"),
        _TABLE.c.ended_at.is_(None),
        _TABLE.c.expires_at > bindparam("now"),
    )
    .order_by(_TABLE.c.created_at.desc(), _TABLE.c.id.desc())
    .offset(bindparam("skipped", type_=Integer))
)


def _highest(column: Column[int], condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(select(func.max(column)).where(condition).scalar_subquery(), 0)


_GIVEN: Final[dict[str, Any]] = {
    name: bindparam(name)
    for name in ("sid", "user_id", "created_at", "expires_at", "address", "user_agent", "device_id")
}
_ALERTS: Final = Alert.table()
_ADD_ON_NEW_DEVICE: Final = insert(_TABLE).values(
    _GIVEN | {"alerts_seen": _highest(_ALERTS.c.id, _ALERTS.c.user_id == bindparam("whose"))}
)
_ON_THE_DEVICE: Final = and_(
    _TABLE.c.user_id == bindparam("whose"), _TABLE.c.device_id == bindparam("which")
)
_ADD_ON_KNOWN_DEVICE: Final = insert(_TABLE).values(
    _GIVEN
    | {
        name: _highest(_TABLE.c[name], _ON_THE_DEVICE)
        for name in ("alerts_seen", "password_alerts_answered")
    }
)


async def add_login(db: AsyncSession, row: dict[str, Any], *, is_new_device: bool) -> None:
    """Insert a login record. A new device shows none of the user's alerts until now.

    A known device continues to show those that it has not answered.
    """
    add = _ADD_ON_NEW_DEVICE if is_new_device else _ADD_ON_KNOWN_DEVICE
    await db.execute(add, {**row, "whose": row["user_id"], "which": row["device_id"]})


async def latest_expiry(db: AsyncSession, user_id: int | None) -> datetime | None:
    """Return when the last session of a user, or of all users, expires."""
    query = select(func.max(Login.expires_at))
    if user_id is not None:
        query = query.where(Login.user_id == user_id)
    return await db.scalar(query)


async def live_logins(db: AsyncSession, user_id: int, now: datetime) -> list[Login]:
    """Return the user's logins that have not ended and are within their limit, newest first."""
    return list(
        await db.scalars(
            select(Login)
            .where(Login.user_id == user_id, Login.ended_at.is_(None), Login.expires_at > now)
            .order_by(Login.created_at.desc(), Login.id.desc())
        )
    )


async def live_sessions_but_for_newest(
    db: AsyncSession, user_id: int, now: datetime, *, number: int
) -> list[SessionRef]:
    """Return the user's live sessions, except the newest ones of this number."""
    rows = await db.execute(_LIVE_SESSIONS, {"whose": user_id, "now": now, "skipped": number})
    return [SessionRef(sid=row.sid, expires_at=row.expires_at) for row in rows]


async def live_logins_of_all(
    db: AsyncSession, now: datetime, before: int | None, *, most: int, user_id: int | None = None
) -> list[Login]:
    """Return live logins of everybody or of a user, newest first, with ids below `before`."""
    query = select(Login).where(Login.ended_at.is_(None), Login.expires_at > now)
    if user_id is not None:
        query = query.where(Login.user_id == user_id)
    if before is not None:
        query = query.where(Login.id < before)
    return list(await db.scalars(query.order_by(Login.id.desc()).limit(most)))


async def live_login(db: AsyncSession, login_id: int, now: datetime) -> Login | None:
    """Return a login, if it is live."""
    return await db.scalar(
        select(Login).where(Login.id == login_id, Login.ended_at.is_(None), Login.expires_at > now)
    )


async def numbers_of_live_logins(
    db: AsyncSession, user_ids: Collection[int], now: datetime
) -> dict[int, int]:
    """Return the number of live logins by user id; users without any are left out."""
    rows = await db.execute(
        select(Login.user_id, func.count())
        .where(Login.user_id.in_(user_ids), Login.ended_at.is_(None), Login.expires_at > now)
        .group_by(Login.user_id)
    )
    return dict(rows.all())


async def has_login_ended(db: AsyncSession, sid: str) -> bool:
    """Return whether a session has been ended; False if it has no login record.

    The row is locked: this waits for a transaction that is ending the session, and a later one
    waits for us.
    """
    ended_at = await db.scalars(select(Login.ended_at).where(Login.sid == sid).with_for_update())
    return ended_at.one_or_none() is not None


async def delete_expired_logins(db: AsyncSession, *, before: datetime, most: int) -> int:
    """Delete at most `most` logins that expired before a time; return how many."""
    expired = (
        select(Login.id).where(Login.expires_at < before).order_by(Login.expires_at).limit(most)
    )
    result = await db.execute(delete(Login).where(Login.id.in_(expired)).returning(Login.id))
    return len(result.all())


async def users_with_most_logins(db: AsyncSession, *, more_than: int) -> list[int]:
    """Return the ids of users with more login records than that."""
    query = select(Login.user_id).group_by(Login.user_id).having(func.count() > more_than)
    return list(await db.scalars(query))


async def delete_ended_logins_of(
    db: AsyncSession, user_id: int, *, before: datetime, but_for_newest: int, most: int
) -> int:
    """Delete at most `most` of the user's logins that began and ended before a time.

    The user's `but_for_newest` newest such logins are kept. Returns how many were deleted.
    """
    surplus = (
        select(Login.id)
        .where(Login.user_id == user_id, Login.created_at < before, Login.ended_at < before)
        .order_by(Login.created_at.desc(), Login.id.desc())
        .offset(but_for_newest)
        .limit(most)
    )
    result = await db.execute(delete(Login).where(Login.id.in_(surplus)).returning(Login.id))
    return len(result.all())


async def mark_login_ended(
    db: AsyncSession, sid: str, *, at: datetime, reason: EndReason
) -> int | None:
    """Record how the login of a session ended; return its user's id.

    Returns None if it had ended before, or has no record.
    """
    return await db.scalar(
        update(Login)
        .where(Login.sid == sid, Login.ended_at.is_(None))
        .values(ended_at=at, end_reason=reason)
        .returning(Login.user_id)
        .execution_options(synchronize_session=False)
    )


async def mark_logins_ended(
    db: AsyncSession, user_id: int, *, at: datetime, reason: EndReason
) -> None:
    """Record how every live login of a user ended."""
    await db.execute(
        update(Login)
        .where(Login.user_id == user_id, Login.ended_at.is_(None))
        .values(ended_at=at, end_reason=reason)
        .execution_options(synchronize_session=False)
    )


async def is_login_recorded(db: AsyncSession, sid: str) -> bool:
    """Return whether the session has a login record, ended or not."""
    return await db.scalar(select(Login.id).where(Login.sid == sid)) is not None


async def add_ended_login(db: AsyncSession, row: dict[str, Any]) -> bool:
    """Insert a login that has ended, unless it is recorded already; return whether it was new."""
    insert_unless = sqlite.insert if db.get_bind().dialect.name == "sqlite" else postgresql.insert
    added = await db.scalar(
        insert_unless(Login.table())
        .values(row)
        .on_conflict_do_nothing(index_elements=[Login.table().c.sid])
        .returning(Login.table().c.id)
    )
    return added is not None


async def mark_some_ended(
    db: AsyncSession, *, at: datetime, reason: EndReason, not_after: datetime, most: int
) -> int:
    """Mark at most `most` logins that began by `not_after` as ended; return how many."""
    some = (
        select(Login.id)
        .where(Login.ended_at.is_(None), Login.created_at <= not_after)
        .order_by(Login.id)
        .limit(most)
        .with_for_update(skip_locked=True)  # do not wait for transactions that end one of them
    )
    result = await db.execute(
        update(Login)
        .where(Login.id.in_(some))
        .values(ended_at=at, end_reason=reason)
        .returning(Login.id)
        .execution_options(synchronize_session=False)
    )
    return len(result.all())
