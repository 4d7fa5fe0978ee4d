"""Queries about authorizations that are under way."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import PlatformAuthorization


async def add_authorization(db: AsyncSession, authorization: PlatformAuthorization) -> None:
    """Insert it, and give it its id."""
    db.add(authorization)
    await db.flush()


async def authorizations_since(
    db: AsyncSession, user_id: int, since: datetime
) -> tuple[int, datetime | None]:
    """Return how many authorizations the user began since a time, and when the first of them."""
    row = await db.execute(
        select(func.count(), func.min(PlatformAuthorization.created_at)).where(
            PlatformAuthorization.user_id == user_id, PlatformAuthorization.created_at > since
        )
    )
    count, first = row.one()
    return count, first


async def authorization_of(
    db: AsyncSession, user_id: int, authorization_id: int, now: datetime
) -> PlatformAuthorization | None:
    """Return the user's authorization if it has not expired."""
    return await db.scalar(
        select(PlatformAuthorization).where(
            PlatformAuthorization.id == authorization_id,
            PlatformAuthorization.user_id == user_id,
            PlatformAuthorization.expires_at > now,
        )
    )


async def authorization_with_state(
    db: AsyncSession, user_id: int, state_hash: str, now: datetime
) -> PlatformAuthorization | None:
    """Return the user's authorization with that state if it has not expired."""
    return await db.scalar(
        select(PlatformAuthorization).where(
            PlatformAuthorization.state_hash == state_hash,
            PlatformAuthorization.user_id == user_id,
            PlatformAuthorization.expires_at > now,
        )
    )


async def use_state(db: AsyncSession, authorization_id: int, now: datetime) -> bool:
    """Mark that the browser came back. Return whether it came back for the first time."""
    marked = await db.scalar(
        update(PlatformAuthorization)
        .where(
            PlatformAuthorization.id == authorization_id,
            PlatformAuthorization.returned_at.is_(None),
        )
        .values(returned_at=now)
        .returning(PlatformAuthorization.id)
        .execution_options(synchronize_session=False)
    )
    return marked is not None


async def delete_authorization(db: AsyncSession, authorization_id: int) -> bool:
    """Delete it; False if it was deleted before."""
    deleted = await db.scalar(
        delete(PlatformAuthorization)
        .where(PlatformAuthorization.id == authorization_id)
        .returning(PlatformAuthorization.id)
        .execution_options(synchronize_session=False)
    )
    return deleted is not None


async def delete_expired_authorizations(db: AsyncSession, *, before: datetime, most: int) -> int:
    """Delete at most `most` authorizations that expired before a time without access.

    Return how many. Those with access are left to `take_expired_access`.
    """
    expired = (
        select(PlatformAuthorization.id)
        .where(
            PlatformAuthorization.expires_at < before,
            PlatformAuthorization.access_token.is_(None),
        )
        .limit(most)
        .scalar_subquery()
    )
    result = await db.execute(
        delete(PlatformAuthorization)
        .where(PlatformAuthorization.id.in_(expired))
        .returning(PlatformAuthorization.id)
    )
    return len(result.all())


class ExpiredAccess(NamedTuple):
    """Access that a server granted, to an account that the user never added; secrets are sealed."""

    host: str
    account_id: str | None
    client_id: str | None
    client_secret: str | None
    access_token: str | None


async def take_expired_access(
    db: AsyncSession, *, before: datetime, most: int
) -> list[ExpiredAccess]:
    """Delete at most `most` authorizations that expired before a time; return their access."""
    expired = (
        select(PlatformAuthorization.id)
        .where(PlatformAuthorization.expires_at < before)
        .limit(most)
        .scalar_subquery()
    )
    rows = await db.execute(
        delete(PlatformAuthorization)
        .where(PlatformAuthorization.id.in_(expired))
        .returning(
            PlatformAuthorization.host,
            PlatformAuthorization.account_id,
            PlatformAuthorization.client_id,
            PlatformAuthorization.client_secret,
            PlatformAuthorization.access_token,
        )
        .execution_options(synchronize_session=False)
    )
    return [ExpiredAccess._make(row) for row in rows]
