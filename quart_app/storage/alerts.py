"""Queries about what users are told of."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import Alert, Login

_ADD_ALERT = insert(Alert.table()).returning(Alert.table().c.id)


async def add_alert(db: AsyncSession, row: dict[str, Any]) -> int:
    """Write down what the user is to be told; return its id."""
    alert_id: int = (await db.execute(_ADD_ALERT, row)).scalar_one()
    return alert_id


async def waiting_alerts(
    db: AsyncSession, user_id: int, sid: str, now: datetime, *, most: int
) -> list[Alert]:
    """Return what the user was not told yet in that session's browser, oldest first.

    What happened in that very browser is not told there.
    """
    # Two seeks; joined, all that the user was ever told would be read for each page.
    found = await db.execute(
        select(Login.alerts_seen, Login.device_id).where(Login.sid == sid, Login.user_id == user_id)
    )
    login = found.one_or_none()
    if login is None:
        return []
    return list(
        await db.scalars(
            select(Alert)
            .where(
                Alert.user_id == user_id,
                Alert.id > login.alerts_seen,
                Alert.expires_at > now,
                or_(Alert.device_id.is_(None), Alert.device_id != login.device_id),
            )
            .order_by(Alert.id)
            .limit(most)
        )
    )


async def alerts_seen_on(db: AsyncSession, user_id: int, device_id: str) -> int:
    """Return the last alert that was answered on a device; 0 where that is not known any more."""
    seen = await db.scalar(
        select(func.max(Login.alerts_seen)).where(
            Login.user_id == user_id, Login.device_id == device_id
        )
    )
    return seen or 0


async def mark_alerts_seen(db: AsyncSession, user_id: int, sid: str, *, up_to: int) -> None:
    """Write down which alert was the last that was answered in a session's browser.

    None that the user does not have yet is answered by it.
    """
    last = select(func.max(Alert.id)).where(Alert.user_id == user_id, Alert.id <= up_to)
    seen = await db.scalar(last) or 0
    await db.execute(
        update(Login)
        .where(Login.user_id == user_id, Login.sid == sid, Login.alerts_seen < seen)
        .values(alerts_seen=seen)
        .execution_options(synchronize_session=False)
    )


async def delete_expired_alerts(db: AsyncSession, *, before: datetime, most: int) -> int:
    """Delete at most so many that expired before a time; return how many they were."""
    expired = (
        select(Alert.id).where(Alert.expires_at < before).order_by(Alert.expires_at).limit(most)
    )
    result = await db.execute(delete(Alert).where(Alert.id.in_(expired)).returning(Alert.id))
    return len(result.all())
