"""From where somebody logs in, and as what that browser is known when they log in there again."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from quart_app.model import USER_AGENT_LENGTH, User
from quart_app.services.audit.addresses import shown_address
from quart_app.session.claims import is_session_id, new_session_id


@dataclass(frozen=True, kw_only=True)
class Device:
    """From where somebody logs in, as far as the request tells.

    `known_as` has, by the ids of users who logged in there, its id for each and as of which epoch.
    """

    address: str | None = None
    user_agent: str | None = None
    known_as: Mapping[int, tuple[str, int]] = field(default_factory=dict)

    def id_for(self, user: User) -> str | None:
        """Return the id by which the user's device is known; None where it is a new one."""
        device_id, epoch = self.known_as.get(user.id, (None, None))
        return device_id if epoch == user.device_epoch else None

    @property
    def shown_address(self) -> str | None:
        """The address, as it is written down."""
        return shown_address(self.address)

    @property
    def shown_user_agent(self) -> str | None:
        """What the browser calls itself, as long as a column is."""
        return self.user_agent and self.user_agent[:USER_AGENT_LENGTH]


UNKNOWN_DEVICE = Device()


@dataclass(frozen=True, kw_only=True)
class KnownDevice:
    """As what a browser is known when this user logs in there again, as of which epoch."""

    user_id: int
    device_id: str
    device_epoch: int


def new_device_id() -> str:
    """Return an id for a device; nobody can guess it."""
    return new_session_id()


def is_id(value: object) -> bool:
    """Tell whether a value has the form of such an id."""
    return is_session_id(value)
