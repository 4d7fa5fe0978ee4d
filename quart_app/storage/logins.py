"""Queries about sign-ins."""

from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import EndReason, Login


async def latest_expiry(db: AsyncSession, user_id: int | None) -> datetime | None:
    """Return when the last session of a user, or of anybody, will have ended by itself."""
    query = select(func.max(Login.expires_at))
    if user_id is not None:
        query = query.where(Login.user_id == user_id)
    return await db.scalar(query)


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
