"""Queries about sign-ins."""

from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import EndReason, Login


async def latest_expiry(db: AsyncSession, user_id: int | None) -> datetime | None:
    """Return when the last session of a user, or of anybody, will have ended by itself."""
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


async def has_login_ended(db: AsyncSession, sid: str) -> bool:
    """Tell whether a session was ended, by whatever; False where no login of it is recorded."""
    ended = await db.scalar(select(Login.id).where(Login.sid == sid, Login.ended_at.is_not(None)))
    return ended is not None


async def delete_expired_logins(db: AsyncSession, *, before: datetime, most: int) -> int:
    """Delete at most so many that expired before a time; return how many they were."""
    expired = (
        select(Login.id).where(Login.expires_at < before).order_by(Login.expires_at).limit(most)
    )
    result = await db.execute(delete(Login).where(Login.id.in_(expired)).returning(Login.id))
    return len(result.all())


async def mark_ended(
    db: AsyncSession,
    *,
    at: datetime,
    reason: EndReason,
    sid: str | None = None,
    user_id: int | None = None,
    not_after: datetime | None = None,
) -> None:
    """Write down how logins ended: of a session, of a user, or all that began by some time."""
    ended = update(Login).where(Login.ended_at.is_(None)).values(ended_at=at, end_reason=reason)
    if sid is not None:
        ended = ended.where(Login.sid == sid)
    if user_id is not None:
        ended = ended.where(Login.user_id == user_id)
    if not_after is not None:
        ended = ended.where(Login.created_at <= not_after)
    await db.execute(ended.execution_options(synchronize_session=False))
