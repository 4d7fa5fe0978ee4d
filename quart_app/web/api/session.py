"""The session of a program: log in, show its times, renew it, log out."""

from quart import Blueprint

from quart_app.errors import (
    BadCredentials,
    Busy,
    InvalidInput,
    PasswordChangeNeeded,
    PasswordChangeNotNeeded,
    TooManyAttempts,
)
from quart_app.session import not_activity
from quart_app.web.pipeline.access import public, renews_at_once
from quart_app.web.pipeline.bodies import Body, NoBody
from quart_app.web.pipeline.current_session import begin, end, end_all
from quart_app.web.pipeline.fields import LoginName, Password
from quart_app.web.pipeline.gate import caller, presented_session_refs, services
from quart_app.web.pipeline.json_views import json_view
from quart_app.web.rendering.json_answers import SessionState, session_state
from quart_app.web.rendering.leaving import CLEARED_CACHE

blueprint = Blueprint("api_session", __name__, url_prefix="/api")


class LoginBody(Body):
    """Name or e-mail address, and password; `new_password` replaces a one-time password."""

    username: LoginName
    password: Password
    remember: bool = False
    new_password: Password | None = None


@blueprint.post("/login")
@public
@json_view(
    SessionState,
    body=LoginBody,
    errors=(
        *(BadCredentials, PasswordChangeNeeded, PasswordChangeNotNeeded, TooManyAttempts),
        *(InvalidInput, Busy),
    ),
)
async def log_in(body: LoginBody) -> SessionState:
    """Log in."""
    begin(
        await services().accounts.log_in(
            caller(),
            login_name=body.username,
            password=body.password,
            remember=body.remember,
            new_password=body.new_password,
            replaced=presented_session_refs(),
        )
    )
    return session_state()


@blueprint.post("/logout")
@public  # ends the sessions of all cookies, even past their idle limit
@json_view(body=NoBody)
async def log_out() -> tuple[None, dict[str, str]]:
    """End this session."""
    await end()
    return None, CLEARED_CACHE


@blueprint.post("/logout_all")
@json_view(body=NoBody)
async def log_out_everywhere() -> tuple[None, dict[str, str]]:
    """End every session of the user."""
    await end_all()
    return None, CLEARED_CACHE


@blueprint.get("/session_state")
@not_activity
@json_view(SessionState)
async def show_session_state() -> SessionState:
    """Return the session's user and expiry times, from the cookie alone."""
    return session_state()


@blueprint.post("/session/renew")
@renews_at_once
@json_view(SessionState, body=NoBody)
async def renew() -> SessionState:
    """Record activity, and do nothing else."""
    return session_state()
