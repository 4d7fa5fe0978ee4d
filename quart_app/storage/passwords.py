"""Queries that store a password hash, at a login, a change or a reset; and reset links."""

from datetime import datetime

from sqlalchemy import (
    Boolean,
    and_,
    bindparam,
    case,
    func,
    null,
    or_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import LEGACY_HASHES, NOT_KEPT, User
from quart_app.storage.users import user_by_id
from quart_app.text.login_names import email_key, name_key


async def record_login(
    db: AsyncSession, seen: User, *, new_hash: str, is_new_password: bool, at: datetime
) -> User | None:
    """Record a login, and the password's new hash, if the user is unchanged since it was read.

    A legacy hash is kept for the way back if the new hash is of the same password; for a new
    password it is not kept. Returns None if the password changed or the user was deactivated
    meanwhile.
    """
    logged_in = await db.scalar(
        _RECORD_LOGIN,
        {
            "whose": seen.id,
            "seen_hash": seen.password_hash,
            "at": at,
            "new_hash": new_hash,
            "is_new_password": is_new_password,
        },
    )
    if logged_in is not None and logged_in.username_key is None:  # an older version created them
        logged_in.username_key = name_key(logged_in.username)
        logged_in.email_key = email_key(logged_in.email)
    return logged_in


# From the row in this statement: the hashes may have been erased since the user was read.
_KEPT_HASH = case(
    (bindparam("is_new_password", type_=Boolean).is_(True), null()),
    (
        and_(
            func.coalesce(User.legacy_password_hash, "unknown") != NOT_KEPT,
            User.password_hash != bindparam("new_hash"),
            or_(*(User.password_hash.startswith(start) for start in LEGACY_HASHES)),
        ),
        User.password_hash,
    ),
    else_=User.legacy_password_hash,
)
_RECORD_LOGIN = (
    update(User)
    .where(
        User.id == bindparam("whose"),
        User.password_hash == bindparam("seen_hash"),
        User.is_active,
    )
    .values(
        last_login=bindparam("at"),
        password_hash=bindparam("new_hash"),
        legacy_password_hash=_KEPT_HASH,
    )
    .returning(User)
    .execution_options(populate_existing=True, synchronize_session=False)
)


async def replace_password(
    db: AsyncSession, seen: User, new_hash: str, *, must_change: bool
) -> User | None:
    """Write the hash and return the user, locked; None if the hash was changed meanwhile."""
    user = await user_by_id(db, seen.id, lock=True)
    if user is None or user.password_hash != seen.password_hash:
        return None
    user.password_hash = new_hash
    user.legacy_password_hash = None
    user.must_change_password = must_change
    user.device_epoch += 1  # a thief of the old password may have a known device
    forget_reset_link(user)
    return user


def forget_reset_link(user: User) -> None:
    """Void the user's reset link, if there is one."""
    user.reset_token_hash = user.reset_expires_at = None
