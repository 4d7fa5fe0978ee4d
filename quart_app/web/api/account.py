"""The user's own account: change the password."""

from quart import Blueprint

from quart_app.errors import BadCredentials, Busy, InvalidInput, TooManyAttempts
from quart_app.web.pipeline.current_session import PasswordBody, change_password_by
from quart_app.web.pipeline.json_views import json_view

blueprint = Blueprint("api_account", __name__, url_prefix="/api/account")


@blueprint.post("/password")
@json_view(body=PasswordBody, errors=(BadCredentials, Busy, InvalidInput, TooManyAttempts))
async def change_password(body: PasswordBody) -> None:
    """Change the password, and replace this session with a new one."""
    await change_password_by(body)
