"""The audit log for administrators: its page, and its export."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated, Final

from pydantic import BeforeValidator, StringConstraints, ValidationInfo, field_validator
from quart import Blueprint, Response, request
from quart.typing import ResponseReturnValue

from quart_app.errors import AppError, InvalidInput
from quart_app.model import ADDRESS_LENGTH, EVENT_LENGTH, AuditEvent
from quart_app.services.administration.audit_reader import AuditFilter, ListedEntry
from quart_app.services.administration.login_days import LoginsADay
from quart_app.services.audit.entries import details_of
from quart_app.services.pagination import Page
from quart_app.session import timestamp
from quart_app.web.pipeline.access import no_page
from quart_app.web.pipeline.bodies import Body, read_query
from quart_app.web.pipeline.fields import LONGEST_PATH, STORABLE, BigId
from quart_app.web.pipeline.gate import caller, services
from quart_app.web.rendering.chart import chart_of
from quart_app.web.rendering.csv_cells import csv_lines
from quart_app.web.rendering.error_responses import status_of
from quart_app.web.rendering.pages import page

blueprint = Blueprint("audit", __name__, url_prefix="/admin")

_EXPORTED_AT_ONCE: Final = 500  # rows: some milliseconds of the event loop
_COLUMNS: Final = (
    *("id", "at", "event", "count", "user_id", "user", "actor_user_id", "actor"),
    *("address", "request_id", "session", "detail"),
)


def _day(text: object) -> date:
    try:
        return date.fromisoformat(str(text))
    except ValueError:
        raise ValueError("Enter a day such as 2026-01-31") from None


_Day = Annotated[date, BeforeValidator(_day)]
# SQLite may hold longer names than the column's.
_Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=LONGEST_PATH), STORABLE]
_Event = Annotated[str, StringConstraints(strip_whitespace=True, max_length=EVENT_LENGTH), STORABLE]
_Address = Annotated[
    str,
    StringConstraints(strip_whitespace=True, to_lower=True, max_length=ADDRESS_LENGTH),
    STORABLE,
]


class AuditQuery(Body):
    """The filter of the audit log; entries must have an id below `before`.

    `user` is the name of the user concerned, `actor` the name of the user who did it.
    """

    event: _Event | None = None
    user: _Name | None = None
    actor: _Name | None = None
    address: _Address | None = None
    from_day: _Day | None = None
    to_day: _Day | None = None
    before: BigId | None = None

    @field_validator("to_day")
    @classmethod
    def _is_not_before_from_day(cls, to_day: date | None, info: ValidationInfo) -> date | None:
        from_day = info.data.get("from_day")
        if to_day is not None and from_day is not None and to_day < from_day:
            raise ValueError("This day is before the first day")
        return to_day


@blueprint.get("/audit")
async def list_page() -> ResponseReturnValue:
    """Show the entries of the audit log, newest first; the address holds the filter."""
    try:
        query = read_query(AuditQuery)
    except InvalidInput as error:
        await services().authorization.check(caller())
        return await _audit_page(Page(), error=error)
    found = await services().audit_reader.page(caller(), _wanted(query), before=query.before)
    # The chart counts the logins of all users, so it is left out if there is a filter.
    is_all = query == AuditQuery()
    days = await services().login_days.last(caller()) if is_all else None
    return await _audit_page(found, before=query.before, days=days)


async def _audit_page(
    found: Page[ListedEntry, int],
    *,
    before: int | None = None,
    days: LoginsADay | None = None,
    error: AppError | None = None,
) -> Response:
    typed = {
        name: request.args.get(name, "") for name in AuditQuery.model_fields if name != "before"
    }
    each_day = days.days if days else ()
    return await page(
        "admin_audit.html",
        status=status_of(error) if error else HTTPStatus.OK,
        found=found,
        is_first=before is None,
        typed=typed,
        filter={name: value for name, value in typed.items() if value},
        events=[event.value for event in AuditEvent],
        details_of=details_of,
        days=days,
        logins=chart_of([(each.day, each.logins) for each in each_day]),
        failures=chart_of([(each.day, each.failures) for each in each_day]),
        error=error,
    )


@blueprint.get("/audit.csv")
@no_page
async def export() -> ResponseReturnValue:
    """Return all entries that match the filter, as CSV, a few rows at a time."""
    try:
        query = read_query(AuditQuery)
    except InvalidInput:
        await services().authorization.check(caller())
        raise
    read = partial(
        services().audit_reader.page,
        caller(),
        _wanted(query),
        size=_EXPORTED_AT_ONCE,
    )
    # Read before the answer begins, because a refusal is an answer of its own.
    first = await read(before=query.before)
    is_asked_for = request.method == "GET"  # HEAD needs no rows
    response = Response(
        _lines(first, read) if is_asked_for else _no_lines(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="audit.csv"'},
    )
    response.timeout = None  # it lasts for as long as there are rows
    return response


async def _lines(
    found: Page[ListedEntry, int], read: Callable[..., Awaitable[Page[ListedEntry, int]]]
) -> AsyncIterator[str]:
    """Yield the export; each part is a use case of its own, so nothing is open between them.

    It runs after the request's context has ended, so it takes the function `read` as an argument.
    """
    yield csv_lines([_COLUMNS])
    while True:
        yield csv_lines([_row(listed) for listed in found.items])
        if found.next_cursor is None:
            return
        found = await read(before=found.next_cursor)


async def _no_lines() -> AsyncIterator[str]:
    """Yield nothing, so that HEAD has no Content-Length: it would have to be the export's."""
    return
    yield ""


def _wanted(query: AuditQuery) -> AuditFilter:
    return AuditFilter(
        event=query.event,
        username=query.user,
        actor=query.actor,
        address=query.address,
        from_day=query.from_day,
        to_day=query.to_day,
    )


def _row(listed: ListedEntry) -> tuple[object, ...]:
    entry = listed.entry
    return (
        *(entry.id, _time(entry.at), entry.event, entry.count),
        *(entry.user_id, listed.username),
        *(entry.actor_user_id, listed.actor_username),
        *(entry.address, entry.request_id, entry.session, entry.detail),
    )


def _time(at: datetime | None) -> str | None:
    """Return the time for programs; None if SQLite holds it in another format."""
    return None if at is None else timestamp(at)
