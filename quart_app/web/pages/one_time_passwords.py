"""The page where a user replaces a one-time password right after entering it."""

from http import HTTPStatus

from quart import Blueprint, Response, request, url_for
from quart.typing import ResponseReturnValue, ResponseTypes

from quart_app.errors import AppError, NotLoggedIn, Unavailable
from quart_app.web.pipeline.access import no_page, public
from quart_app.web.pipeline.bodies import Body, read_form
from quart_app.web.pipeline.current_session import begin
from quart_app.web.pipeline.fields import LinkText, Password
from quart_app.web.pipeline.gate import caller, presented_session_refs, services
from quart_app.web.pipeline.permit_cookie import current_permit, forget_permit
from quart_app.web.rendering.error_responses import status_of
from quart_app.web.rendering.local_paths import safe_local_path
from quart_app.web.rendering.pages import page, redirect_to

blueprint = Blueprint("one_time_passwords", __name__)


class NewPasswordForm(Body):
    """The password that replaces a one-time password; `next` is where to go afterwards."""

    new_password: Password
    next: LinkText = ""


@blueprint.get("/login/new_password")
@public
@no_page
async def form_page() -> ResponseReturnValue:
    """Show the form, if the one-time password was entered in this browser."""
    try:
        return await _form_page(request.args.get("next", ""))
    except NotLoggedIn:
        return _log_in_again(request.args.get("next", ""))


async def _form_page(next_path: str, error: AppError | None = None) -> Response:
    user = await services().one_time_passwords.user_of(current_permit())
    return await page(
        "new_password.html",
        status=status_of(error) if error else HTTPStatus.OK,
        next_path=safe_local_path(next_path) or "",
        user=user,
        error=error,
    )


@blueprint.post("/login/new_password")
@public
async def choose() -> ResponseReturnValue:
    """Set the password and log in."""
    typed = await request.form
    next_path, token = typed.get("next", ""), current_permit()
    try:
        await _check_user(token, typed.get("user_id"))
        form = await read_form(NewPasswordForm)
        new_session = await services().one_time_passwords.replace(
            caller(), token, form.new_password, replaced=presented_session_refs()
        )
    except NotLoggedIn:
        return _log_in_again(next_path)
    except Unavailable:
        raise
    except AppError as error:
        return await _form_page(next_path, error)
    begin(new_session)
    response = redirect_to(
        safe_local_path(form.next) or url_for("platforms.dashboard"),
        notice="Your password is set, and you are logged in.",
    )
    forget_permit(response)
    return response


async def _check_user(token: str, user_id: str | None) -> None:
    """Refuse the form if another tab has since changed the user. Raises NotLoggedIn."""
    user = await services().one_time_passwords.user_of(token)
    if user_id != str(user.id):
        raise NotLoggedIn


def _log_in_again(next_path: str) -> ResponseTypes:
    return redirect_to(
        url_for("accounts.login_page", next=safe_local_path(next_path)),
        notice="The time to choose a password has run out. Log in again.",
    )
