"""The values that every page of a user shows: their name, alerts and connections."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import Alert, PlatformConnection, User
from quart_app.services.caller import Caller
from quart_app.storage import alerts as stored_alerts
from quart_app.storage import platforms as stored_platforms
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database

MOST_ALERTS: Final = 5  # in the list of devices; every other page shows only the first
MOST_CONNECTIONS: Final = 100  # in the switcher: more would fill most of a page


@dataclass(frozen=True, kw_only=True)
class PageContext:
    """The user, and the first alerts that this device shows. `has_more` says that others wait.

    `connections` are the first by name, without their credentials. `current` is the session's
    connection, which may not be among the first; None if it was removed or is inactive. Then
    `fallback` is the connection that replaces it, if any is in use.
    `default_off` is the default connection if it is inactive: sessions then begin with another.
    """

    user: User
    alerts: Sequence[Alert]
    has_more: bool
    connections: Sequence[PlatformConnection]
    has_more_connections: bool
    current: PlatformConnection | None
    fallback: PlatformConnection | None
    default_off: PlatformConnection | None


@dataclass(frozen=True)
class PageContexts:
    """Loads what every page shows, in one transaction."""

    database: Database
    now: Callable[[], datetime]

    async def load(
        self, caller: Caller, platform_connection_id: int | None = None
    ) -> PageContext | None:
        """Return the values for the caller; None if the user is deleted or inactive."""
        return await self.database.run_in_snapshot(
            lambda db: self._load(db, caller, platform_connection_id)
        )

    async def _load(
        self, db: AsyncSession, caller: Caller, platform_connection_id: int | None
    ) -> PageContext | None:
        user_id = caller.user_id
        user = await stored_users.user_shown(db, user_id)
        if user is None or not user.is_active:
            return None
        alerts = await stored_alerts.waiting_alerts(
            db, user_id, caller.sid, self.now(), most=MOST_ALERTS + 1
        )
        connections = await stored_platforms.connections_shown(
            db, user_id, most=MOST_CONNECTIONS + 1
        )
        has_more_connections = len(connections) > MOST_CONNECTIONS
        current = next((c for c in connections if c.id == platform_connection_id), None)
        if current is None and has_more_connections and platform_connection_id is not None:
            current = await stored_platforms.connection_of(db, user_id, platform_connection_id)
        if current is not None and not current.is_active:
            current = None
        fallback = None
        if current is None and platform_connection_id is not None:
            fallback = await stored_platforms.first_usable_connection(
                db, user_id, user.default_platform_connection_id
            )
        default = await self._default(db, user, connections)
        return PageContext(
            user=user,
            alerts=alerts[:MOST_ALERTS],
            has_more=len(alerts) > MOST_ALERTS,
            connections=connections[:MOST_CONNECTIONS],
            has_more_connections=has_more_connections,
            current=current,
            fallback=fallback,
            default_off=default if default and not default.is_active else None,
        )

    async def _default(
        self, db: AsyncSession, user: User, connections: Sequence[PlatformConnection]
    ) -> PlatformConnection | None:
        default_id = user.default_platform_connection_id
        here = next((each for each in connections if each.id == default_id), None)
        return here or await stored_platforms.chosen_default(db, user)
