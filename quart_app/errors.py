"""Errors of use cases: each has a stable code, a category and one sentence.

web/rendering/error_responses.py maps the category to an HTTP status.
"""

import math
from enum import Enum, auto
from typing import ClassVar

_UNITS = ((3600, "hour"), (60, "minute"), (1, "second"))  # in seconds


class Category(Enum):
    """Kinds of errors that callers handle in the same way; the web maps each to a status."""

    MALFORMED = auto()
    NOT_AUTHENTICATED = auto()
    NOT_ALLOWED = auto()
    NOT_FOUND = auto()
    CONFLICT = auto()
    GONE = auto()
    TOO_LARGE = auto()
    UNSUPPORTED = auto()
    INVALID = auto()
    TOO_MANY = auto()
    UNAVAILABLE = auto()
    UPSTREAM = auto()  # another server, such as a Fediverse server, failed
    FAILED = auto()  # only commands raise these


class AppError(Exception):
    """A use case failed; nothing was changed.

    `code` is stable and for programs. `sentence` is for people. `heading` is the error page's title
    where the category's title says too little. `field` names the invalid input, if there is one.
    `retry_after_seconds` says when to try again; the sentence then ends with it.
    """

    category: ClassVar[Category] = Category.FAILED
    code: ClassVar[str] = "error"
    default_sentence: ClassVar[str] = "Something went wrong."
    heading: ClassVar[str | None] = None

    def __init__(
        self,
        sentence: str | None = None,
        *,
        field: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        self.sentence = sentence or self.default_sentence
        if retry_after_seconds is not None:
            self.sentence += f" Try again in {_in_words(retry_after_seconds)}."
        self.field = field
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.sentence)


class BadCredentials(AppError):  # noqa: N818 errors here are named for the fact
    """The name is unknown, the password wrong or the user inactive. The error hides which."""

    category = Category.NOT_AUTHENTICATED
    code = "bad_credentials"
    default_sentence = "Wrong name or password. Please try again."


class TooManyAttempts(AppError):  # noqa: N818
    """There were too many wrong passwords, or too many logins of this user, recently."""

    category = Category.TOO_MANY
    code = "too_many_attempts"
    default_sentence = "There were too many wrong passwords."


class TooManyStreams(AppError):  # noqa: N818
    """This session, or its user, has reached the limit of open event streams."""

    category = Category.TOO_MANY
    code = "too_many_streams"
    default_sentence = "Too many event streams are open. Close one."


class Busy(AppError):  # noqa: N818
    """The hashing queue is full: this login would wait longer than the limit."""

    category = Category.UNAVAILABLE
    code = "busy"
    default_sentence = "Too many people are logging in."


class PasswordNeeded(AppError):  # noqa: N818
    """The login is too old for this request: the user must enter the password again."""

    category = Category.NOT_ALLOWED
    code = "password_needed"
    default_sentence = "You logged in a while ago. Enter your password again."


class PasswordChangeNeeded(AppError):  # noqa: N818
    """The password is right, but it is a one-time password.

    `permit` lets the same browser choose a new password next: see services.password_permits.
    Answers to programs must not contain it.
    """

    category = Category.NOT_ALLOWED
    code = "password_change_needed"
    default_sentence = "This is a one-time password. Choose a new password."

    def __init__(self, permit: str) -> None:
        super().__init__()
        self.permit = permit


class NotLoggedIn(AppError):  # noqa: N818
    """The request has no live session."""

    category = Category.NOT_AUTHENTICATED
    code = "not_logged_in"
    default_sentence = "You are not logged in."


class Forbidden(AppError):  # noqa: N818
    """The user is logged in but lacks the role that this needs."""

    category = Category.NOT_ALLOWED
    code = "forbidden"
    default_sentence = "Only administrators can do this."


class NotFound(AppError):  # noqa: N818
    """The object does not exist, or belongs to another user. The error hides which."""

    category = Category.NOT_FOUND
    code = "not_found"
    default_sentence = "There is nothing here. Check the address."


class InvalidInput(AppError):  # noqa: N818
    """A field has the wrong type, length or form."""

    category = Category.INVALID
    code = "invalid_input"
    default_sentence = "This value is not valid. Correct it and try again."


class PasswordChangeNotNeeded(AppError):  # noqa: N818
    """The login sent a new password, but its password is not a one-time password."""

    category = Category.INVALID
    code = "password_change_not_needed"
    default_sentence = "This is not a one-time password. Log in without a new password."


class NameTaken(AppError):  # noqa: N818
    """Another object of the same kind has this name."""

    category = Category.CONFLICT
    code = "name_taken"
    default_sentence = "That name is taken. Choose another."


class AccountTaken(AppError):  # noqa: N818
    """This user already has a connection to the same account."""

    category = Category.CONFLICT
    code = "account_taken"
    default_sentence = "You have already connected this account."


class TooManyPlatforms(AppError):  # noqa: N818
    """This user has reached the limit of platform connections."""

    category = Category.CONFLICT
    code = "too_many_platforms"
    default_sentence = "You have reached the limit of accounts. Remove one first."


class InUse(AppError):  # noqa: N818
    """Other tables of the database refer to this row."""

    category = Category.CONFLICT
    code = "in_use"
    default_sentence = (
        "Other records still refer to this account, so it can't be removed."
        " You can switch it off instead."
    )
    heading = "This account is in use"


class PlatformInactive(AppError):  # noqa: N818
    """The platform connection is switched off, so no session can use it."""

    category = Category.CONFLICT
    code = "platform_inactive"
    default_sentence = "This account is switched off. Switch it on first."
    heading = "This account is switched off"


class SetUpLinkInvalid(AppError):  # noqa: N818
    """The set-up link was used, has expired, or never existed."""

    category = Category.GONE
    code = "set_up_link_invalid"
    default_sentence = "This set-up link is invalid or has expired."


class LastAdministrator(AppError):  # noqa: N818
    """The change would leave no administrator who can log in."""

    category = Category.CONFLICT
    code = "last_administrator"
    default_sentence = (
        "This is the only administrator who can log in. Make another user an administrator first."
    )


class UserInactive(AppError):  # noqa: N818
    """The user is deactivated and can't log in, so they could not use the result."""

    category = Category.CONFLICT
    code = "user_inactive"
    default_sentence = "This user is deactivated and can't log in. Activate them first."
    heading = "This user is deactivated"


class Unavailable(AppError):  # noqa: N818
    """The database does not answer; nothing was changed, and trying again later may succeed."""

    category = Category.UNAVAILABLE
    code = "unavailable"
    default_sentence = (
        "The service is temporarily unavailable. Nothing was changed. Please try again."
    )


def _in_words(seconds: int) -> str:
    """Return a waiting time as "1 second" or "2 minutes", rounded up."""
    length, unit = next(each for each in _UNITS if seconds >= each[0] or each[0] == 1)
    number = max(1, math.ceil(seconds / length))
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
