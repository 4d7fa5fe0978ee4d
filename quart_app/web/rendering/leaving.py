"""The way to the login page after a logout, with the browser's cache cleared."""

from typing import Final

from quart import url_for
from quart.typing import ResponseTypes

from quart_app.session import clear_session
from quart_app.web.rendering.pages import redirect_to

# Lets the browser forget what it kept of signed-in pages, the back button's copies included. Not
# "cookies": that would take those of every application under the same domain.
CLEARED_CACHE: Final = {"Clear-Site-Data": '"cache"'}


def leave_for_login_page(notice: str, *, next_path: str | None = None) -> ResponseTypes:
    """Forget the session, and go to the login page, which shows `notice`."""
    clear_session()
    response = redirect_to(url_for("accounts.login_page", next=next_path), notice=notice)
    response.headers.update(CLEARED_CACHE)
    return response
