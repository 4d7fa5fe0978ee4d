"""The page where a user with a reset link sets a new password."""

from http import HTTPStatus

from quart import Blueprint, Response, request, url_for
from quart.typing import ResponseReturnValue

from quart_app.errors import AppError, InvalidInput
from quart_app.session import clear_session, validate_session
from quart_app.web.pipeline.access import public
from quart_app.web.pipeline.bodies import Body, read_form
from quart_app.web.pipeline.fields import LinkText, Password
from quart_app.web.pipeline.gate import caller, remember_device, services
from quart_app.web.rendering.error_responses import status_of
from quart_app.web.rendering.pages import page, redirect_to

blueprint = Blueprint("reset_links", __name__)


class ResetForm(Body):
    """A new password, and the token of the link that allows it."""

    token: LinkText
    new_password: Password


@blueprint.after_request
async def keep_the_token(response: Response) -> Response:
    """Keep the page's address, which contains the token, out of every Referer.

    Not no-referrer: with it a browser sends `Origin: null` with our own form.
    """
    response.headers["Referrer-Policy"] = "strict-origin"
    return response


@blueprint.get("/reset")
@public
async def form_page() -> ResponseReturnValue:
    """Show the form that sets a password, to anybody who has the link."""
    return await _form_page(request.args.get("token", ""))


async def _form_page(token: str, error: AppError | None = None) -> Response:
    user = await services().reset_links.user_of(token)
    return await page(
        "reset.html",
        status=status_of(error) if error else HTTPStatus.OK,
        token=token,
        username=user.username,
        error=error,
    )


@blueprint.post("/reset")
@public
async def use() -> ResponseReturnValue:
    """Set the password, and redirect to the login page."""
    try:
        form = await read_form(ResetForm)
        known = await services().reset_links.use(caller(), form.token, form.new_password)
    except InvalidInput as error:
        return await _form_page((await request.form).get("token", ""), error)
    remember_device(known)
    claims = validate_session()
    if claims is not None and claims.user_id != known.user_id:
        return redirect_to(
            url_for("platforms.dashboard"),
            notice="The new password is set. You are still logged in, as another user.",
        )
    clear_session()
    return redirect_to(
        url_for("accounts.login_page"), notice="Your new password is set. Log in with it."
    )
