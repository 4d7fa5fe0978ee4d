"""The user that an administrator or the operator means."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class UserRef:
    """A user's id, or their exact name; one of the two. `steps/targets.py` looks it up."""

    user_id: int | None
    username: str | None

    @classmethod
    def by_id(cls, user_id: int) -> Self:
        """Return the reference that pages use."""
        return cls(user_id, None)

    @classmethod
    def by_name(cls, username: str) -> Self:
        """Return the reference that commands use."""
        return cls(None, username)
