"""Queries about users."""

import unicodedata
from collections.abc import Collection

from sqlalchemy import (
    ColumnElement,
    String,
    and_,
    bindparam,
    cast,
    or_,
    select,
    text,
)
from sqlalchemy.exc import DataError
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import NO_PASSWORD, Role, User
from quart_app.storage.locks import AdvisoryLock, is_postgresql, take_lock
from quart_app.storage.login_keys import fill_missing_keys
from quart_app.text.login_names import email_key, name_key

# Exact matches are sorted first. Of the others, two are already ambiguous.
_MAX_CANDIDATES = 10


async def user_by_id(db: AsyncSession, user_id: int, *, lock: bool = False) -> User | None:
    """Return the user; with `lock`, lock the row until the transaction ends.

    SQLite ignores `lock`: only one transaction writes at a time.
    """
    return await db.get(User, user_id, with_for_update=lock)


async def user_shown(db: AsyncSession, user_id: int) -> User | None:
    """Return the user for a page. Each page asks for it, so its statement is built only once."""
    return await db.scalar(_USER_SHOWN, {"user_id": user_id})


_USER_SHOWN = select(User).where(User.id == bindparam("user_id"))


async def user_by_login_name(db: AsyncSession, login_name: str) -> User | None:
    """Return the user with that name or e-mail address, in the closest spelling.

    In the older application, two names or addresses may differ only in case. So the typed text is
    compared exactly first, then trimmed and in NFC, then by its key, which ignores case. The first
    comparison that matches decides; None if it matches several users.
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
# Always one query: a second one would take time and so reveal that the first found no user. The
# comparisons by name and address find users without keys, whom an older version created.
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
    .limit(_MAX_CANDIDATES)
)


async def user_id_of_name(db: AsyncSession, username: str) -> int | None:
    """Return the id of the user of exactly that name."""
    return await db.scalar(select(User.id).where(User.username == username))


async def lock_administrators_and(db: AsyncSession, user_id: int | None) -> None:
    """Lock the administrators and this user until we commit, as in user_by_id.

    Transactions that change an administrator's role wait here for each other. All lock in the same
    order, so they never deadlock.
    """
    wanted = or_(User.id == user_id, _administers())
    await db.scalars(select(User).where(wanted).order_by(User.id).with_for_update())


async def users_in_order_of_id(db: AsyncSession) -> list[User]:
    """Return every user."""
    return list(await db.scalars(select(User).order_by(User.id)))


async def users_after(
    db: AsyncSession, user_id: int | None, *, sought: str | None, most: int
) -> list[User]:
    """Return users by name, from after a user on; `sought` is part of a name or an address."""
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
    """Return whether this is a user's name or address, in any spelling.

    Transactions that call this run one at a time: of two equal new names the second is refused.
    """
    await take_lock(db, AdvisoryLock.CREATE_USERS)
    await (await db.connection()).run_sync(fill_missing_keys)
    wanted = or_(User.username_key == name_key(login_name), User.email_key == email_key(login_name))
    return await db.scalar(select(User.id).where(wanted).limit(1)) is not None


async def is_there_a_user(db: AsyncSession) -> bool:
    """Return whether there are any users."""
    return await db.scalar(select(User.id).limit(1)) is not None


async def is_there_an_active_admin(db: AsyncSession) -> bool:
    """Return whether there is an administrator who can log in.

    Users who have no password yet, only an unused link, do not count: they may never use it.
    """
    query = select(User.id).where(_administers(), User.password_hash != NO_PASSWORD).limit(1)
    return await db.scalar(query) is not None


async def can_role_be_written(db: AsyncSession) -> bool:
    """Write pending changes; return False if the column's enumeration type lacks the new role.

    The transaction can then only be rolled back.
    """
    try:
        await db.flush()
    except DataError:
        return False
    return True


def _administers() -> ColumnElement[bool]:
    # As text: an enumeration type refuses a comparison with a name that it lacks.
    return and_(cast(User.role, String) == Role.ADMIN.name, User.is_active)


async def lock_set_up(db: AsyncSession) -> None:
    """Allow one set-up at a time; on SQLite only one transaction writes at a time anyway."""
    if is_postgresql(db):
        await db.execute(text("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"))
