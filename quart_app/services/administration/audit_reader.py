"""Read what was written down: for administrators, the newest first, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from quart_app.model import AuditEntry
from quart_app.services.identity.administrators import Administrators
from quart_app.storage import audit as stored
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database

ENTRIES_OF_A_PAGE: Final = 50
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """Which entries somebody wants to see; None is any. Days are UTC's, both included."""

    event: str | None = None
    username: str | None = None
    actor: str | None = None
    address: str | None = None
    from_day: date | None = None
    to_day: date | None = None


@dataclass(frozen=True, kw_only=True)
class AuditPage:
    """Entries, the newest first, and the names of the users in them, by id.

    `older_than` is the id to go on before; None where nothing is older.
    """

    entries: Sequence[AuditEntry] = ()
    usernames: dict[int, str] = field(default_factory=dict)
    older_than: int | None = None


@dataclass(frozen=True)
class AuditReader:
    """What administrators see of the audit."""

    database: Database
    administrators: Administrators

    async def page(
        self,
        user_id: int,
        wanted: AuditFilter,
        *,
        before: int | None = None,
        most: int = ENTRIES_OF_A_PAGE,
    ) -> AuditPage:
        """Return what an administrator wants to see, older than `before`.

        Raises Forbidden, NotFound where the account is gone or inactive.
        """
        async with self.database.read() as db:
            await self.administrators.admit(db, user_id)
            ids: dict[str | None, int | None] = {None: None}
            for name in (wanted.username, wanted.actor):
                if name is None:
                    continue
                user = await stored_users.user_by_username(db, name)
                if user is None:
                    return AuditPage()
                ids[name] = user.id
            # One more than asked for tells whether there is an older one.
            found = await stored.entries_before(
                db,
                stored.Wanted(
                    event=wanted.event,
                    user_id=ids[wanted.username],
                    actor_user_id=ids[wanted.actor],
                    address=wanted.address,
                    since=_beginning_of(wanted.from_day),
                    until=_end_of(wanted.to_day),
                ),
                before,
                most=most + 1,
            )
            entries = found[:most]
            named = {each for entry in entries for each in (entry.user_id, entry.actor_user_id)}
            usernames = await stored_users.usernames(db, {each for each in named if each})
        return AuditPage(
            entries=entries,
            usernames=usernames,
            older_than=entries[-1].id if len(found) > most else None,
        )


def _beginning_of(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)


def _end_of(day: date | None) -> datetime | None:
    """Return the beginning of the next day; of the last that there is, none."""
    return None if day is None or day == date.max else _beginning_of(day + _DAY)
