"""The owner of connections: active, and within the limit."""

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import NotFound, TooManyPlatforms
from quart_app.model import User
from quart_app.services.caller import Caller
from quart_app.storage import platforms as stored
from quart_app.storage import users as stored_users


async def active_user(db: AsyncSession, caller: Caller, *, lock: bool = False) -> User:
    """Return the caller's user. Raises NotFound if the user was deleted or is inactive."""
    user = await stored_users.user_by_id(db, caller.user_id, lock=lock)
    if user is None or not user.is_active:
        raise NotFound
    return user


async def refuse_one_too_many(db: AsyncSession, user_id: int, *, most: int) -> None:
    """Refuse another connection if the user has as many as allowed. Raises TooManyPlatforms.

    A user of the older application may have more, and keeps them.
    """
    if await stored.number_of_connections(db, user_id, most=most) >= most:
        raise TooManyPlatforms(
            f"You have {most} accounts, the most that you can add. Remove one first."
        )
