"""Device ids, which identify a browser when its user logs in there again."""

from quart_app.session.claims import is_session_id, new_session_id


def new_device_id() -> str:
    """Return a new device id. Nobody can guess it."""
    return new_session_id()


def is_device_id(value: object) -> bool:
    """Return whether a value has the form of a device id."""
    return is_session_id(value)
