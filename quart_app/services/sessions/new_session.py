"""A session that has just begun, as use cases return it."""

from dataclasses import dataclass
from typing import Final

from quart_app.services.caller import DeviceRegistration
from quart_app.session.claims import IssuedSession

CONNECTION_CLAIM: Final = "platform_connection_id"


@dataclass(frozen=True, kw_only=True)
class NewSession(IssuedSession):
    """A session that has just begun. The web layer signs it into the browser's cookie."""

    is_new_device: bool
    device: DeviceRegistration

    @property
    def platform_connection_id(self) -> int | None:
        """The connection that the session begins with, if any."""
        platform_connection_id: int | None = self.extra[CONNECTION_CLAIM]
        return platform_connection_id
