"""Pages of platform connections: the dashboard with its switcher, list, add, change, remove."""

from http import HTTPStatus
from typing import Final

from quart import Blueprint, Response, request, url_for
from quart.typing import ResponseReturnValue

from quart_app.errors import AppError, NotFound, NotLoggedIn
from quart_app.model import PlatformType
from quart_app.services.platforms.access_revocation import Revocation
from quart_app.web.pipeline.access import for_no_account
from quart_app.web.pipeline.bodies import Body, read_form, read_query
from quart_app.web.pipeline.claims import current_connection_id, switch_platform
from quart_app.web.pipeline.current_session import fall_back_from
from quart_app.web.pipeline.fields import (
    AccessToken,
    InstanceUrl,
    LinkText,
    PlatformName,
    PlatformUsername,
    SoughtPlatform,
    StoredName,
)
from quart_app.web.pipeline.gate import ID, caller, services
from quart_app.web.rendering.account_states import problem_with
from quart_app.web.rendering.avatars import avatar_response
from quart_app.web.rendering.error_responses import shows_form_again, status_of
from quart_app.web.rendering.local_paths import ReturnForm, safe_local_path
from quart_app.web.rendering.notices import CURRENT
from quart_app.web.rendering.pages import new_current_account, page, redirect_to

blueprint = Blueprint("platforms", __name__)


class PlatformsQuery(Body):
    """The search for connections that contain `sought` and come `after` a name."""

    sought: SoughtPlatform | None = None
    after: StoredName | None = None


class FindQuery(PlatformsQuery):
    """The query of the switcher's search; `next` is the page to return to."""

    next: LinkText = ""


class ConnectForm(Body):
    """A new platform connection, by an access token that the user made at the server."""

    instance_url: InstanceUrl
    access_token: AccessToken
    name: PlatformName | None = None
    # From a page that was opened before the server's answer replaced them.
    platform_type: PlatformType | None = None
    username: PlatformUsername | None = None


class RenameForm(Body):
    """Another name for a platform connection."""

    name: PlatformName


_REMOVED: Final = {
    Revocation.DONE: "Account removed. {host} has revoked the access.",
    Revocation.FAILED: (
        "Account removed. {host} did not confirm that it revoked the access: revoke it there, in"
        " your settings."
    ),
    Revocation.IN_USE: (
        "Account removed. The same access is still in use here, so {host} was not asked to revoke"
        " it."
    ),
    Revocation.NOT_OURS: "Account removed. Its access token still works: revoke it at {host}.",
}


@blueprint.get("/")
async def dashboard() -> ResponseReturnValue:
    """Show the current account, and a switcher with the others.

    All of it is in the page context.
    """
    return await page("dashboard.html")


@blueprint.get("/platforms")
async def list_page() -> ResponseReturnValue:
    """Show connections in order of name, or those that match a search."""
    query = read_query(PlatformsQuery)
    found = await services().platforms.list_of(
        caller(), after=query.after or "", sought=query.sought or ""
    )
    return await page(
        "platforms.html",
        found=found,
        sought=query.sought or "",
        is_first=not query.after,
    )


@blueprint.get("/platforms/find")
async def find_page() -> ResponseReturnValue:
    """Find an account to switch to. With scripts, the switcher shows the results of this page."""
    query = read_query(FindQuery)
    found = await services().platforms.list_of(caller(), sought=query.sought or "")
    back = safe_local_path(query.next) or url_for("platforms.dashboard")
    return await page("find.html", found=found, sought=query.sought or "", back=back)


@blueprint.get("/platforms/new/token")
async def connect_by_token_page() -> ResponseReturnValue:
    """Show the form that connects an account by an access token."""
    return await _connect_by_token_page()


async def _connect_by_token_page(error: AppError | None = None) -> Response:
    """Return the form with all typed values; the token, too, stays in this page."""
    typed = await request.form
    return await page(
        "connect_by_token.html",
        status=status_of(error) if error else HTTPStatus.OK,
        typed={name: typed.get(name, "") for name in ConnectForm.model_fields},
        error=error,
    )


@blueprint.post("/platforms/new/token")
# From a page that was opened before this form had an address of its own.
@blueprint.post("/platforms", endpoint="connect_from_list")
@for_no_account
@shows_form_again(_connect_by_token_page, unless=(NotFound, NotLoggedIn))
async def connect_by_token() -> ResponseReturnValue:
    """Connect an account; it becomes the current one if the session has none."""
    form = await read_form(ConnectForm)
    added = await services().pasted_tokens.connect_or_renew(
        caller(),
        instance_url=form.instance_url,
        access_token=form.access_token,
        name=form.name,
        platform_type=form.platform_type,
        username=form.username,
    )
    if current_connection_id(caller().login) is None:
        switch_platform(added.connection.id)
    notice = "Account connected." if added.is_new else "Account reconnected with the new token."
    return redirect_to(url_for("platforms.list_page"), notice=notice)


@blueprint.get(f"/platforms/<{ID}:platform_connection_id>/avatar")
async def avatar(platform_connection_id: int) -> ResponseReturnValue:
    """Return the picture of an account."""
    return avatar_response(await services().platforms.avatar(caller(), platform_connection_id))


@blueprint.post(f"/platforms/<{ID}:platform_connection_id>/switch")
async def switch(platform_connection_id: int) -> ResponseReturnValue:
    """Make this connection the session's current one, and stay on the page."""
    form = await read_form(ReturnForm)
    connection = await services().platforms.switch(caller(), platform_connection_id)
    switch_platform(connection.id)
    return _back(form, notice=f"Switched to {CURRENT}")


@blueprint.post(f"/platforms/<{ID}:platform_connection_id>/default")
async def make_default(platform_connection_id: int) -> ResponseReturnValue:
    """Make this connection the default, so that new sessions start with it."""
    form = await read_form(ReturnForm)
    await services().platforms.make_default(caller(), platform_connection_id)
    return _back(form, notice="Default account changed. New sessions start with it.")


@blueprint.post(f"/platforms/<{ID}:platform_connection_id>/check")
@for_no_account
async def check(platform_connection_id: int) -> ResponseReturnValue:
    """Ask the server whether it still accepts the access to an account."""
    form = await read_form(ReturnForm)
    result = await services().account_checks.check(caller(), platform_connection_id)
    if result.account is not None:
        notice = f"Account checked: {result.host} accepts the access."
        moved_to = result.account.moved_to
        if moved_to is not None:
            notice = f"{notice} The account has moved to @{moved_to}. Connect that one."
        return _back(form, notice=notice, is_problem=moved_to is not None)
    assert result.problem is not None  # noqa: S101 a check has one or the other
    problem = problem_with(result.problem.code)
    notice = f"Check of the account at {result.host}: {problem.words}. {problem.next_step}"
    return _back(form, notice=notice, is_problem=True)


@blueprint.post(f"/platforms/<{ID}:platform_connection_id>/activate")
async def activate(platform_connection_id: int) -> ResponseReturnValue:
    """Switch a connection on again."""
    form = await read_form(ReturnForm)
    await services().platforms.change(caller(), platform_connection_id, is_active=True)
    return _back(form, notice="Account switched on.")


@blueprint.post(f"/platforms/<{ID}:platform_connection_id>/deactivate")
async def deactivate(platform_connection_id: int) -> ResponseReturnValue:
    """Switch a connection off. If it was the current one, the session falls back to another."""
    form = await read_form(ReturnForm)
    await services().platforms.change(caller(), platform_connection_id, is_active=False)
    notice = "Account switched off."
    if await fall_back_from(platform_connection_id):
        notice = f"{notice} {new_current_account()}"
    return _back(form, notice=notice)


@blueprint.get(f"/platforms/<{ID}:platform_connection_id>/rename")
async def rename_page(platform_connection_id: int) -> ResponseReturnValue:
    """Show the form that renames a connection."""
    return await _rename_page(platform_connection_id)


async def _rename_page(platform_connection_id: int, error: AppError | None = None) -> Response:
    connection, _ = await services().platforms.connection(caller(), platform_connection_id)
    typed = (await request.form).get("name") if error else None
    return await page(
        "rename.html",
        status=status_of(error) if error else HTTPStatus.OK,
        connection=connection,
        name=connection.name if typed is None else typed,
        error=error,
    )


@blueprint.post(f"/platforms/<{ID}:platform_connection_id>/rename")
@shows_form_again(_rename_page)
async def rename(platform_connection_id: int) -> ResponseReturnValue:
    """Rename a connection."""
    form = await read_form(RenameForm)
    await services().platforms.change(caller(), platform_connection_id, name=form.name)
    return redirect_to(url_for("platforms.list_page"), notice="Account renamed.")


@blueprint.get(f"/platforms/<{ID}:platform_connection_id>/remove")
async def remove_page(platform_connection_id: int) -> ResponseReturnValue:
    """Ask whether to remove a connection."""
    return await _remove_page(platform_connection_id)


async def _remove_page(platform_connection_id: int, error: AppError | None = None) -> Response:
    connection, is_default = await services().platforms.connection(caller(), platform_connection_id)
    return await page(
        "remove.html",
        status=status_of(error) if error else HTTPStatus.OK,
        connection=connection,
        is_default=is_default,
        error=error,
    )


@blueprint.post(f"/platforms/<{ID}:platform_connection_id>/remove")
@shows_form_again(_remove_page, unless=(AppError,))  # only what is refused before it
async def remove(platform_connection_id: int) -> ResponseReturnValue:
    """Delete a connection. If it was the current one, the session falls back to another."""
    form = await read_form(ReturnForm)
    removed = await services().removal.remove(caller(), platform_connection_id)
    notice = _REMOVED[removed.revocation].format(host=removed.host)
    if await fall_back_from(platform_connection_id):
        notice = f"{notice} {new_current_account()}"
    return _back(form, notice=notice)


def _back(form: ReturnForm, *, notice: str, is_problem: bool = False) -> ResponseReturnValue:
    path = safe_local_path(form.next) or url_for("platforms.list_page")
    return redirect_to(path, notice=notice, is_problem=is_problem)
