"""Notices: the sentence that a page shows once, after the form that led to it was carried out.

The sentence travels in a signed cookie of its own, because an address could be forged by a link
and would show it again with each reload, and because only login, logout and switch may write the
session. Each destination has its own cookie, so two tabs don't take each other's notice.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, cast
from urllib.parse import unquote, urlsplit

from itsdangerous import BadData, URLSafeTimedSerializer
from quart import Quart, current_app, request
from quart.typing import ResponseTypes

# Where a sentence names the connection that the session acts for. Names stay out of cookies.
CURRENT: Final = "{current}"
_SALT: Final = "quart_app-notice"
_LIFETIME_SECONDS: Final = 60  # the browser follows the redirect at once
_PATH_HASH_LENGTH: Final = 8


class NoticeCookies:
    """Make and read the cookies; `keys` are the session's, newest first, under another salt."""

    def __init__(self, keys: Sequence[str], *, session_cookie_name: str, secure: bool) -> None:
        self._prefix = f"{session_cookie_name}_notice_"
        self._secure = secure
        self._tokens = URLSafeTimedSerializer(list(reversed(keys)), salt=_SALT)

    def write(self, response: ResponseTypes, sentence: str, path: str) -> None:
        """Show the sentence on the page at `path`, which is decoded and has no query."""
        response.set_cookie(
            self._name_for(path),
            str(self._tokens.dumps([path, sentence])),
            max_age=_LIFETIME_SECONDS,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )

    def read(self, path: str) -> str | None:
        """Return the sentence that waits for the page at `path`; None where there is none."""
        try:
            payload = self._tokens.loads(
                request.cookies.get(self._name_for(path), ""), max_age=_LIFETIME_SECONDS
            )
        except (BadData, ValueError, RecursionError):
            return None
        match payload:
            case [str(destination), str(sentence)] if destination == path:
                return sentence
        return None

    def delete(self, response: ResponseTypes, path: str) -> None:
        """Let the browser forget the sentence, which is now shown."""
        response.delete_cookie(
            self._name_for(path), path="/", secure=self._secure, httponly=True, samesite="Lax"
        )

    def _name_for(self, path: str) -> str:
        digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()
        return self._prefix + digest[:_PATH_HASH_LENGTH]


def install(app: Quart, keys: Sequence[str], *, session_cookie_name: str, secure: bool) -> None:
    """Let the views of `app` leave notices."""
    app.extensions["quart_app.notices"] = NoticeCookies(
        keys, session_cookie_name=session_cookie_name, secure=secure
    )


def notices() -> NoticeCookies:
    """Return what makes and reads the cookies."""
    return cast(NoticeCookies, current_app.extensions["quart_app.notices"])


def leave_notice(response: ResponseTypes, sentence: str, destination: str) -> None:
    """Show `sentence` on the page that the redirect `response` leads to."""
    notices().write(response, sentence, unquote(urlsplit(destination).path))
