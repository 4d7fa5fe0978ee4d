"""The device cookie: a signed cookie that lets a login recognize the browser.

The cookie stays when a session ends. It logs nobody in. Only code that takes a password reads it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cached_property, partial
from itertools import chain
from typing import Any, Final

from itsdangerous import BadData, URLSafeTimedSerializer
from quart.wrappers import Response

from quart_app.services.caller import DeviceRegistration, DeviceRegistrations
from quart_app.services.sessions.device_ids import is_device_id
from quart_app.web.pipeline.cookies import own_cookies

_NAME: Final = "device"
_SALT: Final = "quart_app-device"
_LIFETIME: Final = timedelta(days=400)  # the longest that browsers keep a cookie (RFC 6265bis)
_MOST_USERS: Final = 8  # the last to log in there; with more, the browser forgets the first


class _LazyKnownDevices(Mapping[int, DeviceRegistration]):
    """Known devices whose cookies are verified on first use: most requests never use them."""

    def __init__(self, read: Callable[[], DeviceRegistrations]) -> None:
        self._read = read

    @cached_property
    def _known(self) -> DeviceRegistrations:
        return self._read()

    def __getitem__(self, user_id: int) -> DeviceRegistration:
        return self._known[user_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


class DeviceCookie:
    """Makes and reads the cookie; `keys` are the session's, newest first, under another salt."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._tokens = URLSafeTimedSerializer(list(reversed(keys)), salt=_SALT)

    def known_devices(self) -> DeviceRegistrations:
        """Return the devices in those of the browser's cookies that we signed, the last user last.

        If two cookies name the same user, the newer epoch counts. Signatures are verified on first
        use, where a password is taken.
        """
        return _LazyKnownDevices(partial(self._read_all, own_cookies().values(_NAME)))

    def _read_all(self, values: Sequence[str]) -> DeviceRegistrations:
        found: dict[int, DeviceRegistration] = {}
        for known in chain.from_iterable(map(self._read, values)):
            earlier = found.get(known.user_id)
            if earlier is None or earlier.device_epoch < known.device_epoch:
                found[known.user_id] = known
        return found

    def _read(self, value: str) -> list[DeviceRegistration]:
        try:
            payload = self._tokens.loads(value, max_age=int(_LIFETIME.total_seconds()))
        except (BadData, ValueError, RecursionError):
            return []
        entries = payload if isinstance(payload, list) else ()
        return [known for entry in entries if (known := _known(entry))]

    def write(self, response: Response, known_devices: DeviceRegistrations) -> None:
        """Write the cookie that makes the browser known to these users."""
        payload = [
            [known.user_id, known.device_id, known.device_epoch] for known in known_devices.values()
        ]
        token = str(self._tokens.dumps(payload[-_MOST_USERS:]))
        own_cookies().set(response, _NAME, token, _LIFETIME)


def _known(entry: Any) -> DeviceRegistration | None:
    match entry:
        case [int(user_id), str(device_id), int(epoch)] if is_device_id(device_id):
            return DeviceRegistration(user_id=user_id, device_id=device_id, device_epoch=epoch)
    return None
