"""The history of a run: each client's calls, the faults, and what is stored at the end.

All times are seconds of one monotonic clock: clients and faults run in one process.
"""

import enum
from dataclasses import dataclass, field
from typing import Final

PROXY: Final = "proxy"


class Action(enum.StrEnum):
    """The request that a client sent."""

    LOGIN = "login"
    READ = "read"  # the session state
    ACCOUNTS = "accounts"  # the list of the user's accounts
    DEVICES = "devices"  # the list of the user's sessions
    SWITCH = "switch"
    ADD = "add"  # an account
    LOG_OUT = "log out"
    LOG_OUT_EVERYWHERE = "log out everywhere"
    END_DEVICE = "end device"


WRITES: Final = frozenset({Action.LOGIN, Action.SWITCH, Action.ADD})  # each has an audit entry


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request and its answer. A `status` of None means that the answer was lost."""

    action: Action
    target: str  # PROXY or an application host
    user: str
    session: str | None  # the sid that was presented; for a login, the new one
    began: float
    ended: float
    status: int | None
    subject: str | int | None = None  # SWITCH, ADD, END_DEVICE: platform id, account name, sid
    has_newest_cookie: bool = False  # not a copy, which may name an earlier current account
    user_id: int | None = None  # in the answer, as are the following
    current: int | None = None
    accounts: tuple[str, ...] | None = None
    request_id: str | None = None

    @property
    def is_acknowledged(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_refused(self) -> bool:
        """The session was not accepted, so nothing was done."""
        return self.status == 401

    @property
    def is_unknown(self) -> bool:
        """Nobody can tell from the answer whether it was done."""
        return not self.is_acknowledged and not self.is_refused

    def __str__(self) -> str:
        what = self.action if self.subject is None else f"{self.action} {self.subject}"
        return (
            f"{self.began:.3f} to {self.ended:.3f} s: {self.user} {what} at {self.target}"
            f" with {self.session}: {self.status}"
        )


@dataclass(frozen=True)
class Fault:
    """Something that was wrong with these targets for a while. The end is when it was put right."""

    name: str
    targets: frozenset[str]
    began: float
    ended: float


@dataclass(frozen=True)
class Stored:
    """The content of the database after the run."""

    sessions: frozenset[str] = frozenset()  # sids of all logins
    ended: frozenset[str] = frozenset()  # those with an end
    accounts: frozenset[tuple[str, str]] = frozenset()  # user and name
    request_ids: frozenset[str] = frozenset()  # of the audit log


@dataclass
class History:
    """Everything that a checker reads."""

    user_ids: dict[str, int]
    targets: tuple[str, ...] = (PROXY,)
    first_accounts: frozenset[str] = frozenset()  # names that each user has from the beginning
    calls: list[Call] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    healed: float = 0.0  # when the last fault had been put right
    recovered: dict[str, float] = field(default_factory=dict)  # target -> its first answer since
    stored: Stored = field(default_factory=Stored)
