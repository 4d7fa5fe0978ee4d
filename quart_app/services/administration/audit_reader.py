"""The audit log as administrators read it: newest entries first, page by page."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from operator import attrgetter
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.model import AuditEntry
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.services.identity.steps.rights import require_admin
from quart_app.services.pagination import PAGE_SIZE, Page, page_of
from quart_app.storage import audit as stored
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """A filter for audit entries. None matches any value. Days are UTC and inclusive."""

    event: str | None = None
    username: str | None = None
    actor: str | None = None
    address: str | None = None
    from_day: date | None = None
    to_day: date | None = None


@dataclass(frozen=True, kw_only=True)
class ListedEntry:
    """An entry, with the names of the user that it concerns and of the user who did it.

    A name is None if the entry names no user, or if that user was deleted.
    """

    entry: AuditEntry
    username: str | None
    actor_username: str | None


@dataclass(frozen=True)
class AuditReader:
    """Pages of audit entries, for administrators."""

    database: Database
    audit: AuditWriter

    async def page(
        self,
        caller: Caller,
        wanted: AuditFilter,
        *,
        before: int | None = None,
        size: int = PAGE_SIZE,
    ) -> Page[ListedEntry, int]:
        """Return a page of entries, newest first; the cursor is the oldest id.

        Raises Forbidden. Raises NotFound if the user was deleted or is inactive.
        """
        async with self.database.read() as db:
            await require_admin(db, caller, self.audit)
            found = await self._found(db, wanted, before, most=size + 1)
            page = page_of(found, size=size, cursor_of=attrgetter("id"))
            named = {each for entry in page.items for each in (entry.user_id, entry.actor_user_id)}
            names = await stored_users.usernames(db, {each for each in named if each})
        return page.map(
            lambda entry: ListedEntry(
                entry=entry,
                username=names.get(entry.user_id or 0),
                actor_username=names.get(entry.actor_user_id or 0),
            )
        )

    async def _found(
        self, db: AsyncSession, wanted: AuditFilter, before: int | None, *, most: int
    ) -> list[AuditEntry]:
        """Return the entries of a page and one more; none if a user of the filter is unknown."""
        ids: dict[str | None, int | None] = {None: None}
        for name in (wanted.username, wanted.actor):
            if name is None:
                continue
            ids[name] = await stored_users.user_id_of_name(db, name)
            if ids[name] is None:
                return []
        return await stored.entries_before(
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
            most=most,
        )


def _beginning_of(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)


def _end_of(day: date | None) -> datetime | None:
    """Return the beginning of the next day; None for the last day that Python can represent."""
    return None if day is None or day == date.max else _beginning_of(day + _DAY)
