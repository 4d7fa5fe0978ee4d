"""Queries about users."""

import unicodedata
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import (
    Boolean,
    ColumnElement,
    String,
    and_,
    bindparam,
    case,
    cast,
    func,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import DataError
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import NotFound
from quart_app.model import LEGACY_HASHES, NO_PASSWORD, NOT_KEPT, Role, User
from quart_app.storage.locks import AdvisoryLock, is_postgresql, take_lock
from quart_app.storage.login_keys import fill_missing_keys
from quart_app.text.login_names import email_key, name_key

# Names spelled as typed come first; of the others, two are too many.
_MOST_LIKE_ONE_NAME = 10


async def user_by_id(db: AsyncSession, user_id: int, *, lock: bool = False) -> User | None:
    """Return the user; with `lock`, other writers of this user's rows wait until we commit.

    SQLite needs no row lock: there only one transaction writes at a time.
    """
    return await db.get(User, user_id, with_for_update=lock)


async def user_by_login_name(db: AsyncSession, login_name: str) -> User | None:
    """Return the user of that name, else of that e-mail address, in the closest spelling.

    The older application let names and addresses differ in case only. So the
    typed text matches exactly first, then without outer spaces and in one composition (NFC), then
    by its key, which ignores case. Each step counts only if it leaves exactly one user.
    """
    wanted = {
        "typed": login_name,
        "trimmed": _trimmed(login_name),
        "name_key": name_key(login_name),
        "email_key": email_key(login_name),
    }
    found = list(await db.scalars(_USERS_CALLED, wanted))
    for spelling in (str, _trimmed, None):
        for column, key in (("username", name_key), ("email", email_key)):
            spelled = spelling or key
            same = [each for each in found if spelled(getattr(each, column)) == spelled(login_name)]
            if same:
                return same[0] if len(same) == 1 else None
    return None


def _trimmed(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())


_spellings = [bindparam("typed", type_=String), bindparam("trimmed", type_=String)]
# One query in every case: the time of a second one would reveal that the first found no user. Names
# and addresses find users without keys, created by a process of an older version.
_USERS_CALLED = (
    select(User)
    .where(
        or_(
            User.username.in_(_spellings),
            User.email.in_(_spellings),
            User.username_key == bindparam("name_key", type_=String),
            User.email_key == bindparam("email_key", type_=String),
        )
    )
    .order_by(User.username.in_(_spellings).desc(), User.email.in_(_spellings).desc())
    .limit(_MOST_LIKE_ONE_NAME)
)


async def user_by_username(db: AsyncSession, username: str, *, lock: bool = False) -> User | None:
    """Return the user of exactly that name; `lock` as in user_by_id."""
    query = select(User).where(User.username == username)
    return await db.scalar(query.with_for_update() if lock else query)


async def user_named(db: AsyncSession, username: str, *, lock: bool = True) -> User:
    """Return the user of exactly that name; `lock` as in user_by_id. Raises NotFound."""
    user = await user_by_username(db, username, lock=lock)
    if user is None:
        raise NotFound(f"There is no user named {username}.")
    return user


async def lock_administrators_and(db: AsyncSession, user_id: int) -> None:
    """Lock the administrators and this user until we commit.

    Transactions that take the role from an administrator wait here for each other, always in one
    order, so that they never deadlock.
    """
    wanted = or_(User.id == user_id, _administers())
    await db.scalars(select(User).where(wanted).order_by(User.id).with_for_update())


async def lock_users(db: AsyncSession, user_ids: Collection[int]) -> None:
    """Lock the existing users among them, in one order, as in user_by_id."""
    await db.scalars(select(User).where(User.id.in_(user_ids)).order_by(User.id).with_for_update())


async def users_in_order_of_id(db: AsyncSession) -> list[User]:
    """Return every user."""
    return list(await db.scalars(select(User).order_by(User.id)))


async def users_after(
    db: AsyncSession, user_id: int | None, *, sought: str | None, most: int
) -> list[User]:
    """Return users by name, after one; `sought` is part of the name or of the address."""
    query = select(User)
    if user_id is not None:
        last = select(User.username).where(User.id == user_id)
        query = query.where(User.username > last.scalar_subquery())
    if sought is not None:
        query = query.where(
            or_(
                User.username.icontains(sought, autoescape=True),
                User.email.icontains(sought, autoescape=True),
            )
        )
    return list(await db.scalars(query.order_by(User.username).limit(most)))


async def usernames(db: AsyncSession, user_ids: Collection[int]) -> dict[int, str]:
    """Return the names of the existing users among them."""
    rows = await db.execute(select(User.id, User.username).where(User.id.in_(user_ids)))
    return dict(rows.all())


async def does_anybody_log_in_by(db: AsyncSession, login_name: str) -> bool:
    """Return whether it is any user's name or address, in any spelling.

    Other transactions that call this wait until the caller commits. So of two new users with the
    same name the second is refused.
    """
    await take_lock(db, AdvisoryLock.CREATE_USERS)
    await (await db.connection()).run_sync(fill_missing_keys)
    wanted = or_(User.username_key == name_key(login_name), User.email_key == email_key(login_name))
    return await db.scalar(select(User.id).where(wanted).limit(1)) is not None


async def is_there_a_user(db: AsyncSession) -> bool:
    """Return whether there is any user yet."""
    return await db.scalar(select(User.id).limit(1)) is not None


async def is_there_an_active_admin(db: AsyncSession) -> bool:
    """Return whether there is an administrator who can log in.

    Users who have no password yet, only an unused link, do not count: they may never use it.
    """
    query = select(User.id).where(_administers(), User.password_hash != NO_PASSWORD).limit(1)
    return await db.scalar(query) is not None


async def can_role_be_written(db: AsyncSession) -> bool:
    """Write pending changes; False where the role column's enumeration type lacks the new role.

    Then the transaction can only be rolled back.
    """
    try:
        await db.flush()
    except DataError:
        return False
    return True


def _administers() -> ColumnElement[bool]:
    # As text: an enumeration type refuses a comparison with a name that it lacks.
    return and_(cast(User.role, String) == Role.ADMIN.name, User.is_active)


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


async def lock_out_other_set_ups(db: AsyncSession) -> None:
    """Allow one set-up at a time; on SQLite only one transaction writes at a time anyway."""
    if is_postgresql(db):
        await db.execute(text("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"))
