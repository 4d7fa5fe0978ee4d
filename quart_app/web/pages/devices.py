"""Pages of devices: where am I logged in, end one, end the others."""

from http import HTTPStatus

from quart import Blueprint, Response, url_for
from quart.typing import ResponseReturnValue

from quart_app.errors import AppError, NotFound, NotLoggedIn, Unavailable
from quart_app.web.pipeline.bodies import ConfirmBody, read_form
from quart_app.web.pipeline.gate import ID, current_claims, services
from quart_app.web.rendering.confirmation import asking
from quart_app.web.rendering.leaving import leave_for_login_page
from quart_app.web.rendering.pages import go_on, page
from quart_app.web.rendering.replies import status_of
from quart_app.web.rendering.user_agents import described

blueprint = Blueprint("devices", __name__)


@blueprint.get("/devices")
async def list_page() -> ResponseReturnValue:
    """Show where the user is logged in."""
    logins = await services().devices.logins_of(current_claims().user_id)
    return await page(
        "devices.html",
        logins=logins,
        words=await described(login.user_agent for login in logins),
        current_sid=current_claims().sid,
    )


@blueprint.get(f"/devices/<{ID}:login_id>/end")
async def end_page(login_id: int) -> ResponseReturnValue:
    """Ask whether to end a login."""
    return await _end_page(login_id)


async def _end_page(login_id: int, error: AppError | None = None) -> Response:
    asked = current_claims()
    login = await services().devices.login_of(asked.user_id, login_id)
    return await page(
        "device_end.html",
        status=status_of(error) if error else HTTPStatus.OK,
        device=login,
        words=await described([login.user_agent]),
        is_current=login.sid == asked.sid,
        is_password_needed=services().devices.is_password_needed(asked.created_at),
        error=error,
    )


@blueprint.post(f"/devices/<{ID}:login_id>/end")
async def end(login_id: int) -> ResponseReturnValue:
    """End a login, wherever it is."""
    try:
        ended = await services().devices.end(asking(await read_form(ConfirmBody)), login_id)
    except (NotFound, NotLoggedIn, Unavailable):
        raise
    except AppError as error:
        return await _end_page(login_id, error)
    if ended.sid == current_claims().sid:
        return leave_for_login_page("You are logged out.")
    return go_on(url_for("devices.list_page"), notice="The session has ended.")


@blueprint.get("/devices/others/end")
async def end_others_page() -> ResponseReturnValue:
    """Ask whether to end every other login."""
    return await _end_others_page()


async def _end_others_page(error: AppError | None = None) -> Response:
    asked = current_claims()
    logins = await services().devices.logins_of(asked.user_id)
    return await page(
        "devices_end_others.html",
        status=status_of(error) if error else HTTPStatus.OK,
        number=sum(login.sid != asked.sid for login in logins),
        is_password_needed=services().devices.is_password_needed(asked.created_at),
        error=error,
    )


@blueprint.post("/devices/others/end")
async def end_others() -> ResponseReturnValue:
    """End every other login of the user."""
    try:
        await services().devices.end_others(asking(await read_form(ConfirmBody)))
    except (NotFound, NotLoggedIn, Unavailable):
        raise
    except AppError as error:
        return await _end_others_page(error)
    return go_on(url_for("devices.list_page"), notice="Your other sessions have ended.")
