"""Pages to log in, log out, set up the first user and show the profile."""

from http import HTTPStatus
from typing import Final

from quart import Blueprint, Response, request, url_for
from quart.typing import ResponseReturnValue

from quart_app.errors import (
    AppError,
    NotLoggedIn,
    PasswordChangeNeeded,
    SetUpLinkInvalid,
    Unavailable,
)
from quart_app.session import presented_sessions, validate_session
from quart_app.web.pipeline.access import public
from quart_app.web.pipeline.bodies import Body, read_form
from quart_app.web.pipeline.current_session import (
    PasswordBody,
    begin,
    change_password_by,
    end,
    end_all,
)
from quart_app.web.pipeline.fields import Email, LinkText, LoginName, Password
from quart_app.web.pipeline.gate import (
    caller,
    presented_session_refs,
    services,
)
from quart_app.web.pipeline.permit_cookie import set_permit
from quart_app.web.rendering.error_responses import shows_form_again, status_of
from quart_app.web.rendering.leaving import CLEARED_CACHE, leave_for_login_page
from quart_app.web.rendering.local_paths import safe_local_path
from quart_app.web.rendering.pages import page, redirect_to

blueprint = Blueprint("accounts", __name__)

_WELCOME: Final = "Welcome. If you use other devices, they will show this login."


class LoginForm(Body):
    """The login page's form; `next` is where to go afterwards."""

    username: LoginName
    password: Password
    remember: bool = False
    next: LinkText = ""


@blueprint.get("/login")
@public
async def login_page() -> ResponseReturnValue:
    """Show the login form, or redirect users who are already logged in."""
    next_path = request.args.get("next", "")
    if validate_session() is not None:
        return redirect_to(safe_local_path(next_path) or url_for("platforms.dashboard"))
    response = await _login_form(next_path=next_path)
    # The session expired or was ended elsewhere, so no logout here has cleared the cache.
    if presented_sessions():
        response.headers.update(CLEARED_CACHE)
    return response


@blueprint.post("/login")
@public
async def log_in() -> ResponseReturnValue:
    """Log in, and redirect to the page that was requested first."""
    typed = await request.form
    next_path = typed.get("next", "")
    try:
        form = await read_form(LoginForm)
        new_session = await services().accounts.log_in(
            caller(),
            login_name=form.username,
            password=form.password,
            remember=form.remember,
            replaced=presented_session_refs(),
        )
    except Unavailable:
        raise
    except PasswordChangeNeeded as needed:
        response = redirect_to(
            url_for("one_time_passwords.form_page", next=safe_local_path(next_path))
        )
        set_permit(response, needed.permit)
        return response
    except AppError as error:
        return await _login_form(
            next_path=next_path,
            username=typed.get("username", ""),
            remember=bool(typed.get("remember")),
            error=error,
        )
    begin(new_session)
    return redirect_to(
        safe_local_path(form.next) or url_for("platforms.dashboard"),
        notice=_WELCOME if new_session.is_new_device else None,
    )


async def _login_form(
    *,
    next_path: str,
    username: str = "",
    remember: bool = False,
    error: AppError | None = None,
) -> Response:
    return await page(
        "login.html",
        status=status_of(error) if error else HTTPStatus.OK,
        next_path=safe_local_path(next_path) or "",
        username=username,
        remember=remember,
        is_first_user_missing=await services().first_user.is_missing(),
        error=error,
    )


@blueprint.post("/logout")
@public
async def log_out() -> ResponseReturnValue:
    """End the session, if there is one."""
    await end()
    return leave_for_login_page("You are logged out.")


@blueprint.get("/logout_all")
async def log_out_everywhere_page() -> ResponseReturnValue:
    """Ask whether to end every session of the user."""
    logins = await services().devices.logins_of(caller())
    return await page(
        "log_out_everywhere.html", number=len(logins), is_password_needed=False, error=None
    )


@blueprint.post("/logout_all")
async def log_out_everywhere() -> ResponseReturnValue:
    """End every session of the user."""
    await end_all()
    return leave_for_login_page("You are logged out on every device.")


class SetUpForm(Body):
    """The first user, and the token of the set-up link."""

    token: LinkText
    username: LoginName
    email: Email
    new_password: Password


@blueprint.get("/setup")
@public
async def set_up_page() -> ResponseReturnValue:
    """Show the form that creates the first user, to anybody who has the set-up link."""
    token = request.args.get("token", "")
    await _check_set_up(token)
    return await page("setup.html", token=token, username="", email="", error=None)


@blueprint.post("/setup")
@public
async def set_up() -> ResponseReturnValue:
    """Create the first user, an administrator, and log them in."""
    typed = await request.form
    await _check_set_up(typed.get("token", ""))
    try:
        form = await read_form(SetUpForm)
        new_session = await services().first_user.set_up(
            caller(),
            username=form.username,
            email=form.email,
            password=form.new_password,
        )
    except (SetUpLinkInvalid, Unavailable):
        raise
    except AppError as error:
        return await page(
            "setup.html",
            status=status_of(error),
            token=typed.get("token", ""),
            username=typed.get("username", ""),
            email=typed.get("email", ""),
            error=error,
        )
    begin(new_session)
    return redirect_to(url_for("platforms.dashboard"))


async def _check_set_up(token: str) -> None:
    if not services().setup_tokens.is_set_up_token(token):
        raise SetUpLinkInvalid
    if not await services().first_user.is_set_up_needed():
        raise SetUpLinkInvalid


@blueprint.get("/account")
async def account() -> ResponseReturnValue:
    """Show the profile: the user, and the form that changes the password."""
    return await _account_page()


async def _account_page(error: AppError | None = None) -> Response:
    user = await services().accounts.user(caller())
    return await page(
        "account.html", status=status_of(error) if error else HTTPStatus.OK, user=user, error=error
    )


@blueprint.get("/account/password")
async def account_again() -> ResponseReturnValue:
    """Redirect to the profile: browsers show this address after a refused change."""
    return redirect_to(url_for("accounts.account"))


@blueprint.post("/account/password")
@shows_form_again(_account_page, unless=(NotLoggedIn,))
async def change_password() -> ResponseReturnValue:
    """Change the password, end all sessions, and begin a new one in this browser."""
    await change_password_by(await read_form(PasswordBody))
    return redirect_to(
        url_for("accounts.account"),
        notice="Your password has been changed. Your other sessions have ended.",
    )
