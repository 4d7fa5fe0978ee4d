"""Pages of devices: list the user's logins, end one, end all others."""

from http import HTTPStatus

from quart import Blueprint, Response, url_for
from quart.typing import ResponseReturnValue

from quart_app.errors import AppError
from quart_app.web.pipeline.gate import ID, caller, services
from quart_app.web.rendering.confirmation import typed_password
from quart_app.web.rendering.error_responses import shows_form_again, status_of
from quart_app.web.rendering.leaving import leave_for_login_page
from quart_app.web.rendering.pages import page, redirect_to
from quart_app.web.rendering.user_agents import described

blueprint = Blueprint("devices", __name__)


@blueprint.get("/devices")
async def list_page() -> ResponseReturnValue:
    """Show the user's logins."""
    logins = await services().devices.logins_of(caller())
    return await page(
        "devices.html",
        logins=logins,
        words=await described(login.user_agent for login in logins),
        current_sid=caller().sid,
    )


@blueprint.get(f"/devices/<{ID}:login_id>/end")
async def end_page(login_id: int) -> ResponseReturnValue:
    """Ask whether to end a login."""
    return await _end_page(login_id)


async def _end_page(login_id: int, error: AppError | None = None) -> Response:
    login = await services().devices.login_of(caller(), login_id)
    return await page(
        "device_end.html",
        status=status_of(error) if error else HTTPStatus.OK,
        device=login,
        words=await described([login.user_agent]),
        is_current=login.sid == caller().sid,
        is_password_needed=services().reauthentication.is_password_needed(caller()),
        error=error,
    )


@blueprint.post(f"/devices/<{ID}:login_id>/end")
@shows_form_again(_end_page)
async def end(login_id: int) -> ResponseReturnValue:
    """End a login, wherever it is."""
    ended = await services().devices.end(
        caller(), login_id, current_password=await typed_password()
    )
    if ended.sid == caller().sid:
        return leave_for_login_page("You are logged out.")
    return redirect_to(url_for("devices.list_page"), notice="The session has ended.")


@blueprint.get("/devices/others/end")
async def end_others_page() -> ResponseReturnValue:
    """Ask whether to end every other login."""
    return await _end_others_page()


async def _end_others_page(error: AppError | None = None) -> Response:
    logins = await services().devices.logins_of(caller())
    return await page(
        "devices_end_others.html",
        status=status_of(error) if error else HTTPStatus.OK,
        number=sum(login.sid != caller().sid for login in logins),
        is_password_needed=services().reauthentication.is_password_needed(caller()),
        error=error,
    )


@blueprint.post("/devices/others/end")
@shows_form_again(_end_others_page)
async def end_others() -> ResponseReturnValue:
    """End every other login of the user."""
    await services().devices.end_others(caller(), current_password=await typed_password())
    return redirect_to(url_for("devices.list_page"), notice="Your other sessions have ended.")
