"""How a run ends: an outcome, its exit code, and the errors that lead to one."""

import enum
from typing import ClassVar

from quart_app.errors import AppError


class Outcome(enum.StrEnum):
    """The outcome of a run; the JSON report contains the value."""

    DONE = "done"
    NOTHING_TO_DO = "nothing_to_do"
    FAILED = "failed"
    WRONG_USAGE = "wrong_usage"
    REFUSED = "refused"
    PENDING = "pending"
    BUSY = "busy"
    INTERRUPTED = "interrupted"

    @property
    def exit_code(self) -> int:
        """The exit code of the process."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    Outcome.DONE: 0,
    Outcome.NOTHING_TO_DO: 0,
    Outcome.FAILED: 1,
    Outcome.WRONG_USAGE: 2,
    Outcome.REFUSED: 3,
    Outcome.PENDING: 4,
    Outcome.BUSY: 5,
    Outcome.INTERRUPTED: 130,
}


class MigrationStopped(AppError):  # noqa: N818 errors here are named for the fact
    """The run ends early, and the database is as it was."""

    outcome: ClassVar[Outcome] = Outcome.FAILED


class Failed(MigrationStopped):
    """Something went wrong in the middle, and was rolled back."""


class OutcomeUnknown(Failed):
    """The connection was lost while the server committed."""


class NotConfirmed(MigrationStopped):
    """The operator said no, or could not be asked."""

    outcome = Outcome.WRONG_USAGE


class Refused(MigrationStopped):
    """A check says that this database must not be touched."""

    outcome = Outcome.REFUSED


class Busy(MigrationStopped):
    """Other processes hold a lock longer than we wait for it."""

    outcome = Outcome.BUSY


class Interrupted(MigrationStopped):
    """The operator stopped it, and it was rolled back."""

    outcome = Outcome.INTERRUPTED
    default_sentence = "Interrupted. The database is unchanged."
