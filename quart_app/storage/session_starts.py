"""The query that every login makes about its user: in one statement, which costs half of two."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Integer, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import Login, PlatformConnection, User

_LOGINS: Final = Login.table().c
_CONNECTIONS: Final = PlatformConnection.table().c


class SessionStartFacts(NamedTuple):
    """Facts about a user that their next session depends on."""

    nth_newest_login_at: datetime | None
    platform_connection_id: int | None


async def session_start_facts(
    db: AsyncSession, user: User, *, since: datetime, n: int
) -> SessionStartFacts:
    """Return when the user's nth newest login began, and the current account of a new session.

    The first is None if that was before `since`. The second is the user's default if it is on,
    else the oldest connection that is on, else None.
    """
    row = await db.execute(
        _FACTS,
        {
            "whose": user.id,
            "since": since,
            "skipped": n - 1,
            "default_id": user.default_platform_connection_id or 0,
        },
    )
    return SessionStartFacts._make(row.one())


_NTH_NEWEST: Final = (
    select(_LOGINS.created_at)
    .where(_LOGINS.user_id == bindparam("whose"), _LOGINS.created_at > bindparam("since"))
    .order_by(_LOGINS.created_at.desc())
    .offset(bindparam("skipped", type_=Integer))
    .limit(1)
)
# As in storage.platforms.first_usable_connection, which reads all that pages show.
_FIRST_USABLE: Final = (
    select(_CONNECTIONS.id)
    .where(_CONNECTIONS.user_id == bindparam("whose"), _CONNECTIONS.is_active.is_(True))
    .order_by((_CONNECTIONS.id == bindparam("default_id")).desc(), _CONNECTIONS.id)
    .limit(1)
)
_FACTS: Final = select(_NTH_NEWEST.scalar_subquery(), _FIRST_USABLE.scalar_subquery())
