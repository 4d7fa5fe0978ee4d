"""The cookie by which a browser is known again when it logs in: signed, and nothing else in it.

It stays when a session ends. It logs nobody in, and only what takes a password reads it.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from itsdangerous import BadData, URLSafeTimedSerializer
from quart.wrappers import Response

from quart_app.services.sessions.known_devices import is_id
from quart_app.web.pipeline.cookies import own_cookies

_NAME: Final = "device"
_SALT: Final = "quart_app-device"
_LIFETIME: Final = timedelta(days=400)  # the longest that browsers keep a cookie (RFC 6265bis)
_MOST_USERS: Final = 8  # who logged in there last; a browser of more people forgets the first

# The id of the browser for a user, and the user's device epoch then, by the user's id. An id for
# each, so that nobody who used the browser before knows another's.
KnownAs = Mapping[int, tuple[str, int]]


class DeviceCookie:
    """Makes and reads the cookie; `keys` are the session's, newest first, under another salt."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._tokens = URLSafeTimedSerializer(list(reversed(keys)), salt=_SALT)

    def read(self) -> KnownAs:
        """Return what those of the browser's cookies say that we signed, the last user last.

        Where two of them know one user, the newer epoch counts.
        """
        known_as: dict[int, tuple[str, int]] = {}
        for value in own_cookies().values(_NAME):
            for user_id, known in self._read(value):
                if user_id not in known_as or known_as[user_id][1] < known[1]:
                    known_as[user_id] = known
        return known_as

    def _read(self, value: str) -> list[tuple[int, tuple[str, int]]]:
        try:
            payload = self._tokens.loads(value, max_age=int(_LIFETIME.total_seconds()))
        except (BadData, ValueError, RecursionError):
            return []
        entries = payload if isinstance(payload, list) else ()
        return [known for entry in entries if (known := _known(entry))]

    def write(self, response: Response, known_as: KnownAs) -> None:
        """Let the browser be known to these users."""
        payload = [[user_id, *known] for user_id, known in known_as.items()]
        token = str(self._tokens.dumps(payload[-_MOST_USERS:]))
        own_cookies().set(response, _NAME, token, _LIFETIME)


def _known(entry: Any) -> tuple[int, tuple[str, int]] | None:
    match entry:
        case [int(user_id), str(device_id), int(epoch)] if is_id(device_id):
            return user_id, (device_id, epoch)
    return None
