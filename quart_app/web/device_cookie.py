"""The cookie by which a browser is known again when it logs in: signed, and nothing else in it.

It stays when a session ends. It logs nobody in, and no request but a login reads it.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from itsdangerous import BadData, URLSafeTimedSerializer
from quart.wrappers import Response

from quart_app.model import DEVICE_ID_LENGTH

_SALT: Final = "quart_app-device"
_ID_BYTES: Final = 16
_LIFETIME: Final = timedelta(days=400)  # the longest that browsers keep a cookie (RFC 6265bis)
_MOST_USERS: Final = 8  # who logged in there last; a browser of more people forgets the first


@dataclass(frozen=True)
class KnownBrowser:
    """A browser's id, and the ids of users who logged in there, the last one last."""

    id: str
    user_ids: tuple[int, ...] = ()


class DeviceCookie:
    """Makes and reads the cookie; `keys` are the session's, newest first, under another salt."""

    def __init__(self, keys: Sequence[str], *, session_cookie_name: str, secure: bool) -> None:
        self.name = f"{session_cookie_name}_device"
        self._secure = secure
        self._tokens = URLSafeTimedSerializer(list(reversed(keys)), salt=_SALT)

    def read(self, value: str | None) -> KnownBrowser:
        """Return the browser of a cookie that we signed, else one that nobody knows yet."""
        try:
            payload = self._tokens.loads(value or "", max_age=int(_LIFETIME.total_seconds()))
        except (BadData, ValueError, RecursionError):
            payload = None
        match payload:
            case [str(browser_id), *user_ids] if len(browser_id) == DEVICE_ID_LENGTH:
                return KnownBrowser(
                    browser_id, tuple(each for each in user_ids if type(each) is int)
                )
        return KnownBrowser(secrets.token_urlsafe(_ID_BYTES))

    def write(self, response: Response, browser: KnownBrowser, user_id: int) -> None:
        """Let the browser be known to a user who has just logged in."""
        others = [each for each in browser.user_ids if each != user_id]
        payload = [browser.id, *others[1 - _MOST_USERS :], user_id]
        response.set_cookie(
            self.name,
            str(self._tokens.dumps(payload)),
            max_age=_LIFETIME,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )
