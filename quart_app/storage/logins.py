"""Queries about login records."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import EndReason, Login

_ADD_LOGIN = insert(Login.table())
_LIVE_LOGINS = (
    select(Login)
    .where(
        Login.user_id == bindparam("user_id"),
        Login.ended_at.is_(None),
        Login.expires_at > bindparam("now"),
    )
    .order_by(Login.created_at.desc(), Login.id.desc())
    .offset(bindparam("but_for_newest", type_=Integer))
)
_NTH_NEWEST = (
    select(Login.created_at)
    .where(Login.user_id == bindparam("user_id"), Login.created_at > bindparam("since"))
    .order_by(Login.created_at.desc())
    .offset(bindparam("skipped", type_=Integer))
    .limit(1)
)


async def add_login(db: AsyncSession, row: dict[str, Any]) -> None:
    """Insert a login record."""
    await db.execute(_ADD_LOGIN, row)


async def latest_expiry(db: AsyncSession, user_id: int | None) -> datetime | None:
    """Return when the last session of a user, or of all users, expires."""
    query = select(func.max(Login.expires_at))
    if user_id is not None:
        query = query.where(Login.user_id == user_id)
    return await db.scalar(query)


async def live_logins(
    db: AsyncSession, user_id: int, now: datetime, *, but_for_newest: int = 0
) -> list[Login]:
    """Return the user's logins that have not ended and are within their limit, newest first."""
    whose = {"user_id": user_id, "now": now, "but_for_newest": but_for_newest}
    return list(await db.scalars(_LIVE_LOGINS, whose))


async def nth_newest_login_since(
    db: AsyncSession, user_id: int, *, since: datetime, n: int
) -> datetime | None:
    """Return when the user's nth newest login began; None where that was before `since`."""
    return await db.scalar(_NTH_NEWEST, {"user_id": user_id, "since": since, "skipped": n - 1})


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
