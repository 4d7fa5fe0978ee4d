"""The cookie with the permit to replace a one-time password.

The cookie belongs to the browser where the password was typed. The permit is in no address or page.
"""

from typing import Final

from quart.typing import ResponseTypes

from quart_app.services.identity.password_permits import PERMIT_LIFETIME
from quart_app.web.pipeline.cookies import own_cookies
from quart_app.web.pipeline.gate import services

_COOKIE: Final = "permit"


def set_permit(response: ResponseTypes, permit: str) -> None:
    """Set the cookie."""
    own_cookies().set(response, _COOKIE, permit, PERMIT_LIFETIME)


def current_permit() -> str:
    """Return the permit that the browser sent; empty where it sent none of ours."""
    is_permit = services().one_time_passwords.is_permit
    return next(filter(is_permit, own_cookies().values(_COOKIE)), "")


def forget_permit(response: ResponseTypes) -> None:
    """Delete the cookie."""
    own_cookies().delete(response, _COOKIE)
