"""The session of a program: log in, show its times, renew it, log out."""

from quart import Blueprint
from quart.typing import ResponseReturnValue

from quart_app.session import not_activity
from quart_app.web.pipeline.access import public, renews_at_once
from quart_app.web.pipeline.bodies import Body, NoBody, read_json
from quart_app.web.pipeline.current_session import begin, end, end_all
from quart_app.web.pipeline.fields import LoginName, Password
from quart_app.web.pipeline.gate import caller, presented_session_refs, services
from quart_app.web.rendering.json_answers import no_content, session_state
from quart_app.web.rendering.leaving import with_cleared_cache

blueprint = Blueprint("api_session", __name__, url_prefix="/api")


class LoginBody(Body):
    """Name or e-mail address, and password; `new_password` replaces a one-time password."""

    username: LoginName
    password: Password
    remember: bool = False
    new_password: Password | None = None


@blueprint.post("/login")
@public
async def log_in() -> ResponseReturnValue:
    """Log in."""
    body = await read_json(LoginBody)
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
async def log_out() -> ResponseReturnValue:
    """End this session."""
    await read_json(NoBody)
    await end()
    return with_cleared_cache(no_content())


@blueprint.post("/logout_all")
async def log_out_everywhere() -> ResponseReturnValue:
    """End every session of the user."""
    await read_json(NoBody)
    await end_all()
    return with_cleared_cache(no_content())


@blueprint.get("/session_state")
@not_activity
async def show_session_state() -> ResponseReturnValue:
    """Return the session's user and expiry times, from the cookie alone."""
    return session_state()


@blueprint.post("/session/renew")
@renews_at_once
async def renew() -> ResponseReturnValue:
    """Record activity, and do nothing else."""
    await read_json(NoBody)
    return session_state()
