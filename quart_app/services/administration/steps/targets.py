"""Look up the user whom a change or a page is about, in the transaction that needs them."""

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import NotFound
from quart_app.model import User
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.services.identity.steps.rights import require_admin_to_change
from quart_app.storage import users as stored_users


async def user_to_show(db: AsyncSession, ref: UserRef) -> User:
    """Return the user. Raises NotFound."""
    user_id = await _id_of(db, ref)
    return await _existing(db, ref, user_id)


async def user_to_change(
    db: AsyncSession, caller: Caller, ref: UserRef, audit: AuditWriter
) -> User:
    """Return the user, locked together with all administrators.

    The caller's right is checked under that lock, because another administrator may have just
    removed it. Users are locked before logins and in one order: otherwise two administrators who
    change each other would deadlock. Raises Forbidden, NotLoggedIn, NotFound.
    """
    user_id = await _id_of(db, ref)
    await stored_users.lock_administrators_and(db, user_id)
    await require_admin_to_change(db, caller, audit)
    return await _existing(db, ref, user_id)


async def _id_of(db: AsyncSession, ref: UserRef) -> int | None:
    if ref.username is None:
        return ref.user_id
    return await stored_users.user_id_of_name(db, ref.username)


async def _existing(db: AsyncSession, ref: UserRef, user_id: int | None) -> User:
    user = None if user_id is None else await stored_users.user_by_id(db, user_id)
    if user is None:
        raise NotFound(f"There is no user named {ref.username}." if ref.username else None)
    return user
