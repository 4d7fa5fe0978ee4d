"""Queries for reset links. A user has at most one link; the user's row holds its token's hash."""

from datetime import datetime

from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import User


async def user_by_reset_token(db: AsyncSession, token_hash: str, at: datetime) -> User | None:
    """Return the user of a reset link; None if the link is not valid at that time."""
    return await db.scalar(select(User).where(_is_good(token_hash, at)))


async def replace_password_by_link(
    db: AsyncSession, token_hash: str, new_hash: str, at: datetime
) -> User | None:
    """Write the hash, use up the link and return the user, locked; None if it is not valid.

    One statement compares and clears. Of two concurrent uses, the second finds nothing.
    """
    return await db.scalar(
        update(User)
        .where(_is_good(token_hash, at))
        .values(
            password_hash=new_hash,
            legacy_password_hash=None,
            must_change_password=False,
            device_epoch=User.device_epoch + 1,  # as with every change
            reset_token_hash=None,
            reset_expires_at=None,
        )
        .returning(User)
        .execution_options(populate_existing=True)
    )


def _is_good(token_hash: str, at: datetime) -> ColumnElement[bool]:
    return and_(User.reset_token_hash == token_hash, User.reset_expires_at > at, User.is_active)
