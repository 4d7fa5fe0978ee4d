"""As what a browser is known when its user logs in there again."""

from dataclasses import dataclass

from quart_app.session.claims import is_session_id, new_session_id


@dataclass(frozen=True, kw_only=True)
class KnownDevice:
    """As what a browser is known when this user logs in there again, as of which epoch."""

    user_id: int
    device_id: str
    device_epoch: int


def new_device_id() -> str:
    """Return an id for a device; nobody can guess it."""
    return new_session_id()


def is_id(value: object) -> bool:
    """Tell whether a value has the form of such an id."""
    return is_session_id(value)
