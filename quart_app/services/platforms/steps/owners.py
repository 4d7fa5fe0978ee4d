"""Rules that all use cases of connections share: their owner, their number and their names."""

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import NameTaken, NotFound, TooManyPlatforms
from quart_app.model import AuditEvent, PlatformConnection, User
from quart_app.services.audit.steps.writer import AuditWriter
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


async def own_connection(
    db: AsyncSession, audit: AuditWriter, caller: Caller, platform_connection_id: int
) -> PlatformConnection:
    """Return a connection of the caller's user.

    Raises NotFound if it is another user's or does not exist, and counts that in the audit log.
    """
    connection = await stored.connection_of(db, caller.user_id, platform_connection_id)
    if connection is None:
        audit.count(AuditEvent.REFUSED_RIGHTS, caller)
        raise NotFound("You have no such account. It may have been removed.")
    return connection


async def refuse_taken_name(
    db: AsyncSession, user_id: int, name: str, *, of: PlatformConnection | None = None
) -> None:
    """Refuse a name that another connection of the user than `of` has. Raises NameTaken."""
    other = await stored.connection_named(db, user_id, name)
    if other is not None and other is not of:
        raise NameTaken(
            "You already have an account with that name. Choose another name.", field="name"
        )


async def add_connection(db: AsyncSession, user: User, connection: PlatformConnection) -> None:
    """Insert a connection. It becomes the user's default if there is none that can be used."""
    await stored.add_connection(db, connection)
    if await stored.usable_default(db, user) is None:
        user.default_platform_connection_id = connection.id
