"""Queries about who has failed too often."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import bindparam, case, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import Throttle

# What each login asks is put together once: to do so costs more than to ask.
_THROTTLES = select(Throttle).where(Throttle.key.in_(bindparam("keys", expanding=True)))


async def throttles(db: AsyncSession, keys: Collection[str]) -> list[Throttle]:
    """Return what is known of these keys; of some there is nothing."""
    return list(await db.scalars(_THROTTLES, {"keys": list(keys)}))


async def count_failure(
    db: AsyncSession, keys: Sequence[str], *, at: datetime, forgotten_before: datetime
) -> None:
    """Count a failure for each key, in one statement, beginning anew where the last is long ago.

    All processes count in one row; of keys of two kinds the same kind must come first, always, so
    that none of two at once waits for the other.
    """
    insert = sqlite.insert if db.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement = insert(Throttle).values(
        [{"key": key, "failures": 1, "last_failure_at": at} for key in keys]
    )
    await db.execute(
        statement.on_conflict_do_update(
            index_elements=[Throttle.key],
            set_={
                "failures": case(
                    (Throttle.last_failure_at < forgotten_before, 1),
                    else_=Throttle.failures + 1,
                ),
                "last_failure_at": at,
            },
        )
    )


async def delete_throttles(db: AsyncSession, keys: Collection[str]) -> None:
    """Forget the failures of these keys."""
    await db.execute(delete(Throttle).where(Throttle.key.in_(keys)))


async def delete_forgotten_throttles(db: AsyncSession, *, before: datetime, most: int) -> None:
    """Delete at most so many whose last failure is older."""
    forgotten = (
        select(Throttle.key)
        .where(Throttle.last_failure_at < before)
        .order_by(Throttle.last_failure_at)
        .limit(most)
        .with_for_update(skip_locked=True)  # it need not be now, and must not wait in a circle
    )
    await db.execute(
        delete(Throttle)
        .where(Throttle.key.in_(forgotten))
        .execution_options(synchronize_session=False)
    )
