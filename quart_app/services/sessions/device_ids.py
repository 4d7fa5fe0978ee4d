"""Ids by which a browser is known again when its user logs in there."""

from quart_app.session.claims import is_session_id, new_session_id


def new_device_id() -> str:
    """Return an id for a device; nobody can guess it."""
    return new_session_id()


def is_device_id(value: object) -> bool:
    """Tell whether a value has the form of such an id."""
    return is_session_id(value)
