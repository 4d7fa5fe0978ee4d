"""Queries about alerts, which notify users of security events."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Integer,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import Alert, AlertKind, Login

_TABLE = Alert.table()
_ABOUT_THE_PASSWORD = (AlertKind.PASSWORD_CHANGED, AlertKind.PASSWORD_RESET)
_ADD_ALERT = insert(_TABLE).returning(_TABLE.c.id)
_NEW = {
    column.name: bindparam(f"new_{column.name}", type_=column.type)
    for column in _TABLE.c
    if not column.primary_key
}
_WAITING = (
    select(_TABLE.c.id)
    .where(
        _TABLE.c.user_id == _NEW["user_id"],
        _TABLE.c.kind == _NEW["kind"],
        _TABLE.c.expires_at > _NEW["created_at"],
    )
    .limit(bindparam("most", type_=Integer))
    .subquery()
)
_ADD_ALERT_OF_FEW = insert(_TABLE).from_select(
    list(_NEW),
    select(*_NEW.values()).where(
        select(func.count()).select_from(_WAITING).scalar_subquery()
        < bindparam("most", type_=Integer)
    ),
)


async def add_alert(db: AsyncSession, row: dict[str, Any]) -> int:
    """Insert an alert; return its id."""
    alert_id: int = (await db.execute(_ADD_ALERT, row)).scalar_one()
    return alert_id


async def add_alert_of_few(db: AsyncSession, row: dict[str, Any], *, most: int) -> None:
    """Insert an alert unless `most` of its kind already wait for the user's answer.

    It is one statement, because every login on a new device runs it.
    """
    values = {f"new_{name}": value for name, value in row.items()}
    await db.execute(_ADD_ALERT_OF_FEW, {**values, "most": most})


async def waiting_alerts(
    db: AsyncSession, user_id: int, sid: str, now: datetime, *, most: int
) -> list[Alert]:
    """Return the alerts that the session's browser shows, oldest first.

    An alert that asks for a new password comes before the others.
    """
    shown = await _shown_to(db, user_id, sid)
    if shown is None:
        return []
    return list(await db.scalars(_SHOWN_ALERTS, {**shown, "now": now, "most": most}))


async def answer_alerts(db: AsyncSession, user_id: int, sid: str, *, up_to: int) -> bool:
    """Answer the answerable alerts that the session's browser shows, up to an id.

    Delete those about a new device. Those about the password remain for the other devices. Return
    whether there were any.
    """
    shown = await _shown_to(db, user_id, sid)
    if shown is None:
        return False
    answered = and_(_SHOWN, Alert.id <= up_to)
    deleted = await db.execute(
        delete(Alert)
        .where(answered, Alert.kind.not_in((AlertKind.DISOWNED, *_ABOUT_THE_PASSWORD)))
        .returning(Alert.id)
        .execution_options(synchronize_session=False),
        shown,
    )
    newest = await db.scalar(
        select(func.max(Alert.id)).where(answered, Alert.kind.in_(_ABOUT_THE_PASSWORD)), shown
    )
    is_anything_deleted = bool(deleted.all())
    if newest is None:
        return is_anything_deleted
    this_login = select(Login.device_id).where(Login.sid == sid).scalar_subquery()
    noted = await db.execute(
        update(Login)
        .where(
            Login.user_id == user_id,
            or_(Login.sid == sid, Login.device_id == this_login),
            Login.password_alerts_answered < newest,
        )
        .values(password_alerts_answered=newest)
        .returning(Login.id)
        .execution_options(synchronize_session=False)
    )
    return bool(noted.all()) or is_anything_deleted


# The alerts that a session's browser shows. Left out are alerts about this session itself,
# new-device alerts from before this device was known, and alerts about the password that were
# answered on this device.
_SHOWN = and_(
    Alert.user_id == bindparam("user_id"),
    or_(Alert.id > bindparam("alerts_seen"), Alert.kind != AlertKind.NEW_DEVICE),
    or_(
        Alert.id > bindparam("password_alerts_answered"),
        Alert.kind.not_in(_ABOUT_THE_PASSWORD),
    ),
    or_(Alert.device_id.is_(None), Alert.device_id.is_distinct_from(bindparam("device_id"))),
)
_SHOWN_ALERTS = (
    select(Alert)
    .where(_SHOWN, Alert.expires_at > bindparam("now"))
    .order_by(Alert.kind != AlertKind.DISOWNED, Alert.id)
    .limit(bindparam("most", type_=Integer))
)
_SEEN_BY_SESSION = select(
    Login.user_id, Login.alerts_seen, Login.password_alerts_answered, Login.device_id
).where(Login.sid == bindparam("sid"), Login.user_id == bindparam("user_id"))


async def _shown_to(db: AsyncSession, user_id: int, sid: str) -> dict[str, Any] | None:
    """Return the parameters of `_SHOWN` for a session's browser; None without a login record."""
    # Two index lookups. A join would read every alert of the user for each page.
    found = await db.execute(_SEEN_BY_SESSION, {"user_id": user_id, "sid": sid})
    login = found.mappings().one_or_none()
    return None if login is None else dict(login)


async def delete_alerts(
    db: AsyncSession, user_id: int, kinds: Collection[AlertKind] | None = None
) -> None:
    """Delete the user's alerts, or only those of the given kinds."""
    query = delete(Alert).where(Alert.user_id == user_id)
    if kinds is not None:
        query = query.where(Alert.kind.in_(kinds))
    await db.execute(query.execution_options(synchronize_session=False))


async def delete_expired_alerts(db: AsyncSession, *, before: datetime, most: int) -> int:
    """Delete at most `most` alerts that expired before a time; return how many."""
    expired = (
        select(Alert.id).where(Alert.expires_at < before).order_by(Alert.expires_at).limit(most)
    )
    result = await db.execute(delete(Alert).where(Alert.id.in_(expired)).returning(Alert.id))
    return len(result.all())
