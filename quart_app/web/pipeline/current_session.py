"""The session of the current request: begin it for a use case, change it, end it."""

from quart import request

from quart_app.model import EndReason
from quart_app.services.sessions.new_session import NewSession
from quart_app.session import clear_session, create_session
from quart_app.web.pipeline.bodies import Body
from quart_app.web.pipeline.claims import current_connection_id, switch_platform
from quart_app.web.pipeline.deployment_notes import deployment_notes
from quart_app.web.pipeline.fields import Password
from quart_app.web.pipeline.gate import (
    caller,
    presented_session_refs,
    remember_device,
    services,
)


class PasswordBody(Body):
    """The current password, and the new one."""

    current_password: Password
    new_password: Password


def begin(new_session: NewSession) -> None:
    """Sign a session that a use case began into the browser's cookie."""
    create_session(new_session)
    remember_device(new_session.device)
    deployment_notes().note_login(new_session.device.user_id, request.remote_addr)


async def end() -> None:
    """End this browser's sessions everywhere, and then forget them here."""
    await services().sessions.end(caller(), *presented_session_refs())
    clear_session()


async def end_all() -> None:
    """End every session of the caller's user, and forget this one here."""
    await services().sessions.end_all(caller(), EndReason.LOGGED_OUT_EVERYWHERE)
    clear_session()


async def change_password_by(body: PasswordBody) -> None:
    """Change the password of the caller's user, and begin their new session."""
    begin(
        await services().own_password.change(
            caller(),
            current_password=body.current_password,
            new_password=body.new_password,
        )
    )


async def fall_back_from(platform_connection_id: int) -> bool:
    """Leave the current connection if it is this one, which was removed or switched off.

    The session then has the default, else the oldest connection in use, else none. Return whether
    it was the current one.
    """
    if current_connection_id(caller().login) != platform_connection_id:
        return False
    fallback = await services().platforms.fallback(caller())
    switch_platform(fallback.id if fallback else None)
    return True
