"""The way to the login page after a logout, with the browser's cache cleared."""

from quart import url_for
from quart.typing import ResponseTypes

from quart_app.session import clear_session
from quart_app.web.rendering.pages import redirect_to


def leave_for_login_page(notice: str, *, next_path: str | None = None) -> ResponseTypes:
    """Forget the session, and go to the login page, which shows `notice`."""
    clear_session()
    return with_cleared_cache(
        redirect_to(url_for("accounts.login_page", next=next_path), notice=notice)
    )


def with_cleared_cache(response: ResponseTypes) -> ResponseTypes:
    """Let the browser forget what it kept of signed-in pages, the back button's copies included.

    Not "cookies": that would take those of every application under the same domain.
    """
    response.headers["Clear-Site-Data"] = '"cache"'
    return response
