"""The user's own account: change the password."""

from quart import Blueprint
from quart.typing import ResponseReturnValue

from quart_app.web.pipeline.bodies import read_json
from quart_app.web.pipeline.current_session import PasswordBody, change_password_by
from quart_app.web.rendering.json_answers import no_content

blueprint = Blueprint("api_account", __name__, url_prefix="/api/account")


@blueprint.post("/password")
async def change_password() -> ResponseReturnValue:
    """Change the password, and replace this session with a new one."""
    await change_password_by(await read_json(PasswordBody))
    return no_content()
