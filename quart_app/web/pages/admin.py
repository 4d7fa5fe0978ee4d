"""Pages for administrators: list users, list and end sessions."""

from typing import Annotated

from pydantic import StringConstraints
from quart import Blueprint, Response, url_for
from quart.typing import ResponseReturnValue

from quart_app.errors import AppError, InvalidInput
from quart_app.model import EMAIL_LENGTH
from quart_app.services.administration.user_ref import UserRef
from quart_app.web.pipeline.bodies import Body, BodyT, read_query
from quart_app.web.pipeline.fields import STORABLE, BigId, Id
from quart_app.web.pipeline.gate import ID, caller, services
from quart_app.web.rendering.confirmation import confirm_page, typed_password
from quart_app.web.rendering.error_responses import shows_form_again
from quart_app.web.rendering.leaving import leave_for_login_page
from quart_app.web.rendering.pages import page, redirect_to
from quart_app.web.rendering.user_agents import described

blueprint = Blueprint("admin", __name__, url_prefix="/admin")


class UsersQuery(Body):
    """The search for users whose name or e-mail address contains `sought`; `after` is an id."""

    sought: (
        Annotated[str, StringConstraints(strip_whitespace=True, max_length=EMAIL_LENGTH), STORABLE]
        | None
    ) = None
    after: Id | None = None


class LoginsQuery(Body):
    """The wanted part of the list of logins: those with an id below `before`."""

    before: BigId | None = None


@blueprint.get("/users")
async def users_page() -> ResponseReturnValue:
    """Show users in order of name, or those that match a search."""
    query = await _query(UsersQuery)
    found = await services().users.page(caller(), after=query.after, sought=query.sought)
    return await page(
        "admin_users.html", found=found, sought=query.sought or "", is_first=query.after is None
    )


@blueprint.get(f"/users/<{ID}:user_id>")
async def user_page(user_id: int) -> ResponseReturnValue:
    """Show a user, and where they are logged in."""
    user, logins = await services().users.get(caller(), UserRef.by_id(user_id))
    return await page(
        "admin_user.html",
        user=user,
        logins=logins,
        words=await described(login.user_agent for login in logins),
        current_sid=caller().sid,
    )


@blueprint.get("/sessions")
async def logins_page() -> ResponseReturnValue:
    """Show everybody's live logins, the newest first."""
    query = await _query(LoginsQuery)
    found = await services().session_administration.page(caller(), before=query.before)
    return await page(
        "admin_logins.html",
        found=found,
        words=await described(listed.login.user_agent for listed in found.items),
        current_sid=caller().sid,
        is_first=query.before is None,
    )


@blueprint.get(f"/sessions/<{ID}:login_id>/end")
async def end_login_page(login_id: int) -> ResponseReturnValue:
    """Ask whether to end a login."""
    return await _end_login_page(login_id)


async def _end_login_page(login_id: int, error: AppError | None = None) -> Response:
    user, login = await services().session_administration.get(caller(), login_id)
    return await confirm_page(
        "admin_end_login.html",
        error,
        user=user,
        device=login,
        words=await described([login.user_agent]),
        is_current=login.sid == caller().sid,
    )


@blueprint.post(f"/sessions/<{ID}:login_id>/end")
@shows_form_again(_end_login_page)
async def end_login(login_id: int) -> ResponseReturnValue:
    """End a login, wherever it is."""
    ended = await services().session_administration.end(
        caller(), login_id, current_password=await typed_password()
    )
    if ended.sid == caller().sid:
        return leave_for_login_page("You are logged out.")
    return redirect_to(
        url_for("admin.user_page", user_id=ended.user_id), notice="The session has ended."
    )


@blueprint.get(f"/users/<{ID}:user_id>/end")
async def end_user_page(user_id: int) -> ResponseReturnValue:
    """Ask whether to end every session of a user."""
    return await _end_user_page(user_id)


async def _end_user_page(user_id: int, error: AppError | None = None) -> Response:
    user, logins = await services().users.get(caller(), UserRef.by_id(user_id))
    return await confirm_page(
        "admin_end_user.html",
        error,
        user=user,
        number=len(logins),
        is_current=user_id == caller().user_id,
    )


@blueprint.post(f"/users/<{ID}:user_id>/end")
@shows_form_again(_end_user_page)
async def end_user(user_id: int) -> ResponseReturnValue:
    """End every session of a user."""
    await services().session_administration.end_all_of(
        caller(), UserRef.by_id(user_id), current_password=await typed_password()
    )
    if user_id == caller().user_id:
        return leave_for_login_page("You are logged out on every device.")
    return redirect_to(
        url_for("admin.user_page", user_id=user_id), notice="All sessions of this user have ended."
    )


@blueprint.get("/sessions/all/end")
async def end_everybodys_page() -> ResponseReturnValue:
    """Ask whether to end every session that there is."""
    return await _end_everybodys_page()


async def _end_everybodys_page(error: AppError | None = None) -> Response:
    await services().authorization.check(caller())
    return await confirm_page("admin_end_everybodys.html", error)


@blueprint.post("/sessions/all/end")
@shows_form_again(_end_everybodys_page)
async def end_everybodys() -> ResponseReturnValue:
    """End every session that there is."""
    await services().session_administration.end_everybodys(
        caller(), current_password=await typed_password()
    )
    return leave_for_login_page("All sessions have ended. Everyone must log in again.")


async def _query(query: type[BodyT]) -> BodyT:
    """Return the parsed query. Raises InvalidInput.

    Only administrators get that error; the check refuses all other users first.
    """
    try:
        return read_query(query)
    except InvalidInput:
        await services().authorization.check(caller())
        raise
