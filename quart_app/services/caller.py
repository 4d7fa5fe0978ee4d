"""The caller: the first argument of use cases that need a user, or that are recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from quart_app.errors import NotLoggedIn
from quart_app.model import USER_AGENT_LENGTH, User
from quart_app.session.claims import Claims


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceRegistration:
    """The id that identifies a browser for one user, and the user's device epoch at that time.

    Each user has a separate id in the browser, so that users of one browser don't know each
    other's.
    """

    user_id: int
    device_id: str
    device_epoch: int


DeviceRegistrations = Mapping[int, DeviceRegistration]  # by the user's id


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """A request, or a command, as use cases see it: its login, and where it comes from.

    `claims` is None without a login: at an endpoint that requires none, and on the command line.
    `known_devices` is what the browser's device cookie says. `is_operator` is True only for
    commands: the operator may do what administrators may, without a password.
    """

    claims: Claims | None
    address: str | None
    user_agent: str | None
    request_id: str | None
    known_devices: DeviceRegistrations
    is_operator: bool = False

    @classmethod
    def command_line(cls) -> Self:
        """Return the caller of a command: the operator, whom the audit log does not name."""
        return cls(
            claims=None,
            address=None,
            user_agent=None,
            request_id=None,
            known_devices={},
            is_operator=True,
        )

    @property
    def login(self) -> Claims:
        """The claims of the caller's login. Raises NotLoggedIn if there is none."""
        if self.claims is None:
            raise NotLoggedIn
        return self.claims

    @property
    def user_id(self) -> int:
        """The id of the user who is logged in. Raises NotLoggedIn."""
        user_id: int = self.login.user_id
        return user_id

    @property
    def sid(self) -> str:
        """The id of the caller's session. Raises NotLoggedIn."""
        return self.login.sid

    @property
    def shown_user_agent(self) -> str | None:
        """The User-Agent header, cut to the length of a column."""
        return self.user_agent and self.user_agent[:USER_AGENT_LENGTH]

    def device_id_for(self, user: User) -> str | None:
        """Return the id of the user's device; None for a new device."""
        known = self.known_devices.get(user.id)
        return known.device_id if known and known.device_epoch == user.device_epoch else None
