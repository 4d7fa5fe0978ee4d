"""Rendering of pages, and redirects to a page after a form."""

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from quart import Response, current_app, redirect, request, url_for
from quart.typing import ResponseTypes
from werkzeug.urls import iri_to_uri

from quart_app.errors import NotFound
from quart_app.services.identity.page_context import PageContext
from quart_app.session import Claims, timestamp, validate_session
from quart_app.web.pipeline.access import Mark, is_marked
from quart_app.web.pipeline.claims import current_connection_id, switch_platform
from quart_app.web.pipeline.gate import UNATTENDED, caller, now, services
from quart_app.web.pipeline.headers import with_retry_after
from quart_app.web.pipeline.last_resort import plain_page
from quart_app.web.pipeline.request_ids import request_id
from quart_app.web.pipeline.root_path import current_full_path, current_path
from quart_app.web.rendering.local_paths import safe_local_path
from quart_app.web.rendering.notices import (
    CURRENT,
    Notice,
    forget_notice,
    leave_notice,
    waiting_notice,
)
from quart_app.web.rendering.user_agents import described


async def page(template: str, *, status: int = HTTPStatus.OK, **values: Any) -> Response:
    """Return the page; a template gets `values` and what `_rendered` gives it, nothing else.

    Raises NotFound if the page needs a user, and the user is deleted or inactive.
    """
    claims = validate_session()
    page_context = await _page_context_of(claims) if claims else None
    if page_context is None and not is_marked(Mark.PUBLIC):
        raise NotFound
    # An unattended request leaves the notice waiting and does not change the session.
    is_looked_at = request.method == "GET" and UNATTENDED not in request.headers
    notice = waiting_notice(current_path()) if is_looked_at else None
    is_current_lost = (
        claims is not None
        and page_context is not None
        and page_context.current is None
        and current_connection_id(claims) is not None
    )
    if is_looked_at and is_current_lost and page_context is not None:
        claims, page_context = _fallen_back(page_context)
        lost = "Your last account was removed or switched off."
        notice = Notice(f"{lost} {new_current_account()}", is_problem=False)
    html = await _rendered(template, claims, page_context, _this_page(), values, notice=notice)
    response = with_retry_after(Response(html, status), values.get("error"))
    if notice is not None:
        forget_notice(response, current_path())
    return response


def new_current_account() -> str:
    """Return the sentence about the account that a session has after it lost another."""
    claims = validate_session()
    if claims is not None and current_connection_id(claims) is not None:
        return f"Your current account is now {CURRENT}."
    return "You have no account in use now."


async def error_page(
    status: HTTPStatus,
    heading: str,
    sentence: str,
    *,
    try_again: str | None = None,
    start_again: str | None = None,
) -> Response:
    """Return the page of an error; with `try_again` or `start_again`, a path, it links there.

    The page is tried first with the page context, then without it, and at last without a template.
    """
    claims = validate_session()
    values = {
        "status": status,
        "heading": heading,
        "sentence": sentence,
        "try_again": try_again,
        "start_again": start_again,
        "request_id": request_id(),
    }
    is_context_from_database = claims is not None and status != HTTPStatus.SERVICE_UNAVAILABLE
    for has_context in (True, False) if is_context_from_database else (False,):
        try:
            page_context = (
                await _page_context_of(claims) if has_context and claims is not None else None
            )
            back = url_for("platforms.dashboard")
            return Response(
                await _rendered("error.html", claims, page_context, back, values), status
            )
        except Exception as error:  # noqa: BLE001 whatever it is, the error comes first
            current_app.logger.warning(
                "The error page of request %s can't be shown %s: %s: %s",
                *(request_id(), "with its page context" if has_context else "by its template"),
                *(type(error).__name__, error),
            )
    page = plain_page(request_id(), f"{request.root_path}/", heading, sentence)
    return Response(page, status, content_type="text/html; charset=utf-8")


def _fallen_back(page_context: PageContext) -> tuple[Claims | None, PageContext]:
    """Leave an account that was removed or switched off on another device.

    Opening a page switches the session to the fallback, like a use of the switcher. Return the
    session's claims and the page context with it.
    """
    fallback = page_context.fallback
    switch_platform(fallback.id if fallback else None)
    return validate_session(), replace(page_context, current=fallback)


async def _page_context_of(claims: Claims) -> PageContext | None:
    # A public page uses its session for the page context, and for nothing else.
    reader = replace(caller(), claims=claims)
    return await services().page_contexts.load(reader, current_connection_id(claims))


async def _rendered(
    template: str,
    claims: Claims | None,
    page_context: PageContext | None,
    back: str,
    values: dict[str, Any],
    *,
    notice: Notice | None = None,
) -> str:
    """Return the page with what every page shows: alerts, the switcher and a notice.

    The forms that every page has lead to `back`; scripts count from `served_at`.
    """
    words_of_alerts = await described(
        each.user_agent for each in (page_context.alerts if page_context else ())
    )
    return current_app.jinja_env.get_template(template).render(
        claims=claims,
        page_context=page_context,
        words_of_alerts=words_of_alerts,
        notice=notice,
        back_here=back,
        served_at=timestamp(now()),
        **values,
    )


def _this_page() -> str:
    """Return the path of the page that is shown, where it can be asked for again."""
    path = current_full_path() if request.method == "GET" else current_path()
    return safe_local_path(path) or url_for("platforms.dashboard")


def redirect_to(path: str, *, notice: str | None = None, is_problem: bool = False) -> ResponseTypes:
    """Send the browser to a page of ours, which shows the sentence `notice` once.

    The page replaces CURRENT in the sentence with the name of the session's current connection,
    and shows a sentence that `is_problem` as an error.
    """
    response = redirect(iri_to_uri(path), HTTPStatus.SEE_OTHER)
    if notice is not None:
        leave_notice(response, notice, path, is_problem=is_problem)
    return response
