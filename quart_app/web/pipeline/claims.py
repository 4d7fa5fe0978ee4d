"""The claim that this application adds to a session: the platform connection that it works with."""

from typing import Final

from quart_app.model import LARGEST_ID
from quart_app.services.sessions.new_session import CONNECTION_CLAIM
from quart_app.session import Claims, update_session


def is_id(value: object) -> bool:
    """Return whether a claim's value can be the id of a row."""
    return type(value) is int and 0 < value <= LARGEST_ID


def _is_id_or_none(value: object) -> bool:
    return value is None or is_id(value)


EXTRA_CLAIMS: Final = {CONNECTION_CLAIM: _is_id_or_none}


def current_connection_id(claims: Claims) -> int | None:
    """Return the id of the session's current connection; None if it has none."""
    platform_connection_id: int | None = claims.extra.get(CONNECTION_CLAIM)
    return platform_connection_id


def switch_platform(platform_connection_id: int | None) -> None:
    """Make another of the user's connections, or none, the session's current one."""
    update_session(**{CONNECTION_CLAIM: platform_connection_id})
