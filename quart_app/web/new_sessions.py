"""A session that a use case began, signed into the browser's cookie."""

from quart_app.services.sessions import NewSession
from quart_app.web.gate import know_device_again
from quart_app.web.session import create_session


def begin(new_session: NewSession) -> None:
    """Sign a session that a use case began into the browser's cookie."""
    create_session(
        user_id=new_session.user_id,
        platform_connection_id=new_session.platform_connection_id,
        sid=new_session.sid,
        epoch=new_session.epoch,
        created_at=new_session.created_at,
        expires_at=new_session.expires_at,
        remember=new_session.remember,
    )
    know_device_again(new_session.device)
