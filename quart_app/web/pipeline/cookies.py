"""Cookies beside the session's: named after it, for this site only, hidden from scripts."""

from datetime import timedelta
from typing import cast

from quart import Quart, current_app, request
from quart.typing import ResponseTypes

from quart_app.session import cookies_named, joined_cookie_header


class OwnCookies:
    """Set, read and delete cookies named `<session cookie>_<name>`.

    Their `path` is the session cookie's. Over https, its name starts with `__Host-` or
    `__Secure-`, and so do theirs.
    """

    def __init__(self, *, session_cookie_name: str, path: str, secure: bool) -> None:
        self._prefix = f"{session_cookie_name}_"
        self._path, self._secure = path, secure

    def values(self, name: str) -> list[str]:
        """Return every value that the browser sent; ours may come after another application's."""
        return cookies_named(joined_cookie_header(request.scope["headers"]), self._prefix + name)

    def set(self, response: ResponseTypes, name: str, value: str, lifetime: timedelta) -> None:
        """Set a cookie."""
        response.set_cookie(
            self._prefix + name,
            value,
            max_age=lifetime,
            path=self._path,
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )

    def delete(self, response: ResponseTypes, name: str) -> None:
        """Delete a cookie."""
        response.delete_cookie(
            self._prefix + name,
            path=self._path,
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )


def install(app: Quart, *, session_cookie_name: str, path: str, secure: bool) -> None:
    """Make these cookies available to the views of `app`."""
    app.extensions["quart_app.cookies"] = OwnCookies(
        session_cookie_name=session_cookie_name, path=path, secure=secure
    )


def own_cookies() -> OwnCookies:
    """Return the object that sets, reads and deletes them."""
    return cast(OwnCookies, current_app.extensions["quart_app.cookies"])
