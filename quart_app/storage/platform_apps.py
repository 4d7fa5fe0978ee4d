"""Queries about this application's registrations at Fediverse servers."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import AppRegistration
from quart_app.storage.locks import AdvisoryLock, take_lock


class AppKey(NamedTuple):
    """The properties that an app is registered with, which every use of it must repeat."""

    host: str
    redirect_uri: str
    scope: str


async def lock_registrations(db: AsyncSession) -> None:
    """Let no other transaction add a registration until this one ends."""
    await take_lock(db, AdvisoryLock.REGISTER_APPS)


async def shared_app(db: AsyncSession, key: AppKey) -> AppRegistration | None:
    """Return the newest shared app that was registered with these properties."""
    return await db.scalar(
        select(AppRegistration)
        .where(
            AppRegistration.host == key.host,
            AppRegistration.redirect_uri == key.redirect_uri,
            AppRegistration.scope == key.scope,
            AppRegistration.is_shared.is_(True),
            AppRegistration.client_id.is_not(None),
        )
        .order_by(AppRegistration.id.desc())
        .limit(1)
    )


async def is_shared_app_under_way(db: AsyncSession, key: AppKey, *, since: datetime) -> bool:
    """Return whether another attempt is registering this app, and began after `since`."""
    found = await db.scalar(
        select(AppRegistration.id)
        .where(
            AppRegistration.host == key.host,
            AppRegistration.redirect_uri == key.redirect_uri,
            AppRegistration.scope == key.scope,
            AppRegistration.is_shared.is_(True),
            AppRegistration.is_under_way.is_(True),
            AppRegistration.started_at > since,
        )
        .limit(1)
    )
    return found is not None


async def registrations_since(db: AsyncSession, host: str, since: datetime) -> list[datetime]:
    """Return when registrations began at a server since a time, in order."""
    times = await db.scalars(
        select(AppRegistration.started_at)
        .where(AppRegistration.host == host, AppRegistration.started_at > since)
        .order_by(AppRegistration.started_at)
    )
    return list(times)


async def add_registration(db: AsyncSession, registration: AppRegistration) -> None:
    """Insert it, and give it its id."""
    db.add(registration)
    await db.flush()


async def registration(db: AsyncSession, registration_id: int) -> AppRegistration | None:
    """Return a registration by its id."""
    return await db.get(AppRegistration, registration_id)


async def delete_old_registrations(db: AsyncSession, *, before: datetime, most: int) -> int:
    """Delete at most `most` registrations that began before a time and hold no shared app."""
    old = (
        select(AppRegistration.id)
        .where(AppRegistration.started_at < before, AppRegistration.client_id.is_(None))
        .limit(most)
        .scalar_subquery()
    )
    result = await db.execute(
        delete(AppRegistration).where(AppRegistration.id.in_(old)).returning(AppRegistration.id)
    )
    return len(result.all())
