"""Pages that connect an account by authorization at its server."""

from http import HTTPStatus

from quart import Blueprint, Response, redirect, request, url_for
from quart.typing import ResponseReturnValue, ResponseTypes

from quart_app.errors import AppError
from quart_app.fediverse.errors import InvalidScope, ServerError
from quart_app.services.platforms.authorizations import AUTHORIZATION_LIFETIME, BegunAuthorization
from quart_app.services.platforms.errors import AuthorizationInvalid
from quart_app.web.pipeline.access import after_error_offers, after_login_shows, for_no_account
from quart_app.web.pipeline.authorization_cookie import (
    is_state_of_this_browser,
    only_state,
    remember_authorization,
    state_of,
)
from quart_app.web.pipeline.bodies import Body, read_form
from quart_app.web.pipeline.claims import switch_platform
from quart_app.web.pipeline.fields import InstanceUrl
from quart_app.web.pipeline.gate import ID, caller, services
from quart_app.web.rendering.avatars import avatar_response
from quart_app.web.rendering.error_responses import shows_form_again, status_of
from quart_app.web.rendering.notices import CURRENT
from quart_app.web.rendering.pages import page, redirect_to

blueprint = Blueprint("authorizations", __name__)

_offers_new_start = after_error_offers("authorizations.server_page")


class ServerForm(Body):
    """The server to connect an account at, in any usual spelling."""

    server: InstanceUrl


@blueprint.get("/platforms/new")
async def server_page() -> ResponseReturnValue:
    """Ask for the server."""
    return await _server_page()


async def _server_page(error: AppError | None = None) -> Response:
    typed = await request.form
    return await page(
        "connect.html",
        status=status_of(error) if error else HTTPStatus.OK,
        server=typed.get("server", ""),
        error=error,
    )


@blueprint.post("/platforms/new")
@for_no_account
@shows_form_again(_server_page)
async def begin() -> ResponseReturnValue:
    """Recognize the server, and show where to continue."""
    form = await read_form(ServerForm)
    return _to_page_of(await services().authorizations.begin(caller(), form.server))


@blueprint.post(f"/platforms/<{ID}:platform_connection_id>/reconnect")
@for_no_account
@_offers_new_start
async def reconnect(platform_connection_id: int) -> ResponseReturnValue:
    """Begin to renew the access to an account."""
    connection, _ = await services().platforms.connection(caller(), platform_connection_id)
    try:
        begun = await services().authorizations.begin(
            caller(), connection.instance_url, platform_connection_id=platform_connection_id
        )
    except ServerError as error:  # its address can't be changed here, so there is no form to show
        return redirect_to(url_for("platforms.list_page"), notice=error.sentence, is_problem=True)
    return _to_page_of(begun)


def _to_page_of(begun: BegunAuthorization, notice: str | None = None) -> ResponseTypes:
    address = url_for("authorizations.authorization_page", authorization_id=begun.id)
    response = redirect_to(address, notice=notice)
    remember_authorization(response, begun)
    return response


@blueprint.get(f"/platforms/authorizations/<{ID}:authorization_id>")
@_offers_new_start
async def authorization_page(authorization_id: int) -> ResponseReturnValue:
    """Show the way to the server or, after the way back, the account."""
    state = state_of(authorization_id)
    try:
        account = await services().authorized_accounts.waiting(caller(), authorization_id)
    except AuthorizationInvalid:
        begun = await services().authorizations.begun(caller(), authorization_id, state)
        return await page("continue.html", begun=begun, lifetime=AUTHORIZATION_LIFETIME)
    return await page("authorized.html", account=account)


@blueprint.get(f"/platforms/authorizations/<{ID}:authorization_id>/continue")
@_offers_new_start
async def continue_there(authorization_id: int) -> ResponseReturnValue:
    """Send the browser to the server.

    The page holds this address and not the server's, because only now can it be said which app
    the server still knows. A form could not be answered like this: see `form-action` in the policy.
    """
    if not _is_visit():
        return "", HTTPStatus.NO_CONTENT
    return redirect(
        await services().authorizations.authorization_url(
            caller(), authorization_id, state_of(authorization_id)
        ),
        HTTPStatus.SEE_OTHER,
    )


@blueprint.get("/platforms/callback/<server>")
@after_login_shows("authorizations.server_page")  # the address holds a code
@_offers_new_start
async def callback(server: str) -> ResponseReturnValue:
    """Receive the browser from the server, and show the account."""
    if not _is_visit():
        return "", HTTPStatus.NO_CONTENT
    error = request.args.get("error")
    state = request.args.get("state") or (only_state() if error else None)
    if state is None or not is_state_of_this_browser(state):
        raise AuthorizationInvalid
    try:
        authorization_id = await services().authorization_results.receive(
            caller(), state, server=server, code=request.args.get("code"), error=error
        )
    except InvalidScope:
        begun = await services().authorizations.begin_with_less_scope(caller(), state)
        return _to_page_of(
            begun, notice=f"{begun.host} asks for other permissions. Continue there once again."
        )
    return redirect_to(
        url_for("authorizations.authorization_page", authorization_id=authorization_id)
    )


def _is_visit() -> bool:
    """Return whether a browser opens the address to show it.

    HEAD and a browser that loads pages ahead (Fetch Metadata's `Sec-Purpose: prefetch`) must not
    use up a code, or have a server asked. A browser asks again after 204 when the user goes there.
    """
    return request.method != "HEAD" and "prefetch" not in request.headers.get("Sec-Purpose", "")


@blueprint.get(f"/platforms/authorizations/<{ID}:authorization_id>/avatar")
async def avatar(authorization_id: int) -> ResponseReturnValue:
    """Return the picture of the account."""
    return avatar_response(await services().authorized_accounts.avatar(caller(), authorization_id))


@blueprint.post(f"/platforms/authorizations/<{ID}:authorization_id>/add")
@for_no_account
@_offers_new_start
async def add(authorization_id: int) -> ResponseReturnValue:
    """Add the account, and make it the session's current one."""
    added = await services().authorized_accounts.add(caller(), authorization_id)
    connection = added.connection
    notice = "Account connected." if added.is_new else "Account reconnected."
    if connection.is_active:
        connection = await services().platforms.switch(caller(), connection.id)
        switch_platform(connection.id)
        notice = f"{notice} Switched to {CURRENT}"
    else:
        notice = f"{notice} It is switched off."
    return redirect_to(url_for("platforms.dashboard"), notice=notice)
