"""Queries for rate limits: failures counted by key, in rows that all processes share.

Every transaction locks its rows in the order of their keys, so that no two deadlock.
"""

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, case, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import Throttle, UtcDateTime

_TABLE: Final = Throttle.table()
# One less, unless the reservation was dropped meanwhile.
_RELEASED: Final = case((_TABLE.c.reserved > 0, _TABLE.c.reserved - 1), else_=0)


class Counted(NamedTuple):
    """A row after a reservation was added to it."""

    key: str
    failures: int
    last_failure_at: datetime
    reserved: int


async def reserve(
    db: AsyncSession,
    keys: Collection[str],
    *,
    at: datetime,
    lost_before: datetime,
    not_after: datetime,
) -> list[Counted]:
    """Add a reservation to each key and return the rows, which stay locked until the commit.

    Reservations from before `lost_before` are dropped, because their process must have ended. So
    are those from after `not_after`, which a wrong clock made.
    """
    statement = _upsert(db.get_bind().dialect.name, "reserve")
    times = {"at": at, "lost_before": lost_before, "not_after": not_after}
    # SQLAlchemy makes one INSERT with several rows of this; they are locked in their order.
    rows = await db.execute(statement, [{"of": key, **times} for key in sorted(keys)])
    return [Counted._make(row) for row in rows]


async def count_failure(
    db: AsyncSession, keys: Collection[str], *, at: datetime, forgotten_before: datetime
) -> None:
    """Turn a reservation into a failure; the count restarts if the last failure is long ago."""
    statement = _upsert(db.get_bind().dialect.name, "fail")
    for key in sorted(keys):
        await db.execute(
            statement, {"of": key, "at": at, "forgotten_before": forgotten_before, "failed": 1}
        )


async def release(
    db: AsyncSession, keys: Collection[str], *, forgiven: Collection[str] = ()
) -> None:
    """Release a reservation of each key, and reset the failures of the `forgiven` keys."""
    emptied = await db.scalars(_DELETE_EMPTIED, {"keys": list(keys), "forgiven": list(forgiven)})
    for key in sorted(set(keys).difference(emptied)):
        await db.execute(_FORGIVE if key in forgiven else _RELEASE, {"of": key})


async def delete_forgotten_throttles(db: AsyncSession, *, before: datetime, most: int) -> None:
    """Delete at most `most` rows whose last failure is older than `before`."""
    forgotten = (
        select(Throttle.key)
        .where(
            Throttle.last_failure_at < before,
            or_(Throttle.reserved == 0, Throttle.reserved_since < before),
        )
        .order_by(Throttle.last_failure_at)
        .limit(most)
        .with_for_update(skip_locked=True)  # locked rows can wait; waiting here could deadlock
    )
    await db.execute(
        delete(Throttle)
        .where(Throttle.key.in_(forgotten))
        .execution_options(synchronize_session=False)
    )


# Built once, because every login runs these: building one costs more than executing it.
_RELEASE: Final = _TABLE.update().where(_TABLE.c.key == bindparam("of")).values(reserved=_RELEASED)
_FORGIVE: Final = _RELEASE.values(failures=0)
_IN_ORDER: Final = (
    select(_TABLE.c.key)
    .where(_TABLE.c.key.in_(bindparam("keys", expanding=True)))
    .order_by(_TABLE.c.key)
    .with_for_update()
)
# Rows that hold nothing after the release, which most rows do: deleting them is the release.
_DELETE_EMPTIED: Final = (
    delete(_TABLE)
    .where(
        _TABLE.c.key.in_(_IN_ORDER),
        or_(
            _TABLE.c.failures == 0,
            _TABLE.c.key.in_(bindparam("forgiven", expanding=True)),
        ),
        _TABLE.c.reserved <= 1,
    )
    .returning(_TABLE.c.key)
)


@cache
def _upsert(dialect: str, what: str) -> Any:
    """Return a statement for one key. SQLAlchemy does not cache statements for several keys."""
    at, begins = bindparam("at", type_=UtcDateTime()), what == "reserve"
    inserted: dict[str, Any] = {
        "key": bindparam("of"),
        "failures": 0 if begins else 1,
        "last_failure_at": at,
        "reserved": 1 if begins else 0,
        "reserved_since": at,
    }
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    return (
        insert(_TABLE)
        .values(inserted)
        .on_conflict_do_update(
            index_elements=[_TABLE.c.key], set_=_reserved(at) if begins else _failed(at)
        )
        .returning(_TABLE.c.key, _TABLE.c.failures, _TABLE.c.last_failure_at, _TABLE.c.reserved)
    )


def _reserved(at: Any) -> dict[str, Any]:
    starts_over = or_(
        _TABLE.c.reserved == 0,
        _TABLE.c.reserved_since < bindparam("lost_before", type_=UtcDateTime()),
        _TABLE.c.reserved_since > bindparam("not_after", type_=UtcDateTime()),
    )
    return {
        "reserved": case((starts_over, 1), else_=_TABLE.c.reserved + 1),
        "reserved_since": case((starts_over, at), else_=_TABLE.c.reserved_since),
    }


def _failed(at: Any) -> dict[str, Any]:
    is_forgotten = _TABLE.c.last_failure_at < bindparam("forgotten_before", type_=UtcDateTime())
    return {
        "failures": case((is_forgotten, 1), else_=_TABLE.c.failures + 1),
        "last_failure_at": at,
        "reserved": _RELEASED,
    }
