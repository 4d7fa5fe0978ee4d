"""Models of request bodies: one class for each use case, for both JSON and forms."""

from datetime import date
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import from_json
from quart import request

from quart_app.errors import InvalidInput, MalformedBody, UnsupportedBody
from quart_app.model import (
    ADDRESS_LENGTH,
    EMAIL_LENGTH,
    EVENT_LENGTH,
    INSTANCE_URL_LENGTH,
    LARGEST_BIG_ID,
    LARGEST_ID,
    PLATFORM_NAME_LENGTH,
    PLATFORM_USERNAME_LENGTH,
    PlatformType,
    Role,
)
from quart_app.services.identity.passwords import LONGEST

LONGEST_PATH = 2048
LONGEST_TOKEN = 4096
_MOST_FIELDS = 50
_MANY_FIELDS_BYTES = 5 * _MOST_FIELDS  # a field has five characters at least: `"a":0`


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("This contains a NUL character")
    text.encode()  # a lone surrogate has no UTF-8; UnicodeEncodeError is a ValueError
    return text


def _day(text: object) -> date:
    try:
        return date.fromisoformat(str(text))
    except ValueError:
        raise ValueError("Enter a day such as 2026-01-31") from None


MOST_OF_A_LIST = 200  # in one answer to a program
_Limit = Annotated[int, Field(ge=1, le=MOST_OF_A_LIST)]
DAY = BeforeValidator(_day)
# Runs after the length check, so that an error about the length counts characters.
STORABLE = AfterValidator(_storable)
LoginName = Annotated[str, StringConstraints(min_length=1, max_length=EMAIL_LENGTH), STORABLE]
Password = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST), STORABLE]
Email = Annotated[str, StringConstraints(min_length=1, max_length=EMAIL_LENGTH), STORABLE]
Path = Annotated[str, StringConstraints(max_length=LONGEST_PATH), STORABLE]
PlatformName = Annotated[
    str, StringConstraints(min_length=1, max_length=PLATFORM_NAME_LENGTH), STORABLE
]


# SQLite may hold longer names than the column's.
SoughtName = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=LONGEST_PATH), STORABLE
]


class Body(BaseModel):
    """A request body; unknown fields and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    may_be_absent: ClassVar[bool] = False


class LoginBody(Body):
    """Name or e-mail address, and password; `new_password` replaces a one-time password."""

    username: LoginName
    password: Password
    remember: bool = False
    new_password: Password | None = None


class LoginForm(Body):
    """The login page's form; `next` is where to go afterwards."""

    username: LoginName
    password: Password
    remember: bool = False
    next: Path = ""


class NewPasswordForm(Body):
    """The password that replaces a one-time password; `next` as in LoginForm."""

    new_password: Password
    next: Path = ""


class SetUpForm(Body):
    """The first user, and the token of the set-up link."""

    token: Path
    username: LoginName
    email: Email
    new_password: Password


class ResetForm(Body):
    """A new password, and the token of the link that allows it."""

    token: Path
    new_password: Password


class PasswordBody(Body):
    """The current password, and the new one."""

    current_password: Password
    new_password: Password


class ConnectBody(Body):
    """A new platform connection. `verify` is meant to check the token with the instance."""

    name: PlatformName
    platform_type: PlatformType
    instance_url: Annotated[
        str, StringConstraints(min_length=1, max_length=INSTANCE_URL_LENGTH), STORABLE
    ]
    access_token: Annotated[
        str, StringConstraints(min_length=1, max_length=LONGEST_TOKEN), STORABLE
    ]
    username: (
        Annotated[
            str, StringConstraints(min_length=1, max_length=PLATFORM_USERNAME_LENGTH), STORABLE
        ]
        | None
    ) = None
    verify: bool = True


class ChangeBody(Body):
    """The changes to a platform connection; absent fields stay as they are."""

    name: PlatformName | None = None
    is_active: bool | None = None


class RenameForm(Body):
    """The form that gives a platform connection another name."""

    name: PlatformName


class ReturnForm(Body):
    """The form of a button; `next` is the page that contains it."""

    next: Path = ""


class AlertsForm(ReturnForm):
    """The answer to the alerts that a page showed; `up_to` is the newest of them."""

    up_to: Annotated[int, Field(ge=1, le=LARGEST_BIG_ID)]


class ConfirmBody(Body):
    """The password again, if the login is not fresh enough."""

    may_be_absent = True
    current_password: Password | None = None


class NewUserForm(ConfirmBody):
    """A user whom an administrator creates."""

    may_be_absent = False
    username: LoginName
    email: Email
    role: Role = Role.VIEWER


class RoleForm(ConfirmBody):
    """Another role for a user."""

    may_be_absent = False
    role: Role


class AuditQuery(Body):
    """The filter of the audit log; entries must have an id below `before`.

    `user` is the name of the user concerned, `actor` the name of the user who did it.
    """

    event: (
        Annotated[str, StringConstraints(strip_whitespace=True, max_length=EVENT_LENGTH), STORABLE]
        | None
    ) = None
    user: SoughtName | None = None
    actor: SoughtName | None = None
    address: (
        Annotated[
            str,
            StringConstraints(strip_whitespace=True, to_lower=True, max_length=ADDRESS_LENGTH),
            STORABLE,
        ]
        | None
    ) = None
    from_day: Annotated[date, DAY] | None = None
    to_day: Annotated[date, DAY] | None = None
    before: Annotated[int, Field(ge=1, le=LARGEST_BIG_ID)] | None = None

    @field_validator("to_day")
    @classmethod
    def _is_not_before_from_day(cls, to_day: date | None, info: ValidationInfo) -> date | None:
        from_day = info.data.get("from_day")
        if to_day is not None and from_day is not None and to_day < from_day:
            raise ValueError("This day is before the first day")
        return to_day


class UsersQuery(Body):
    """The search for users whose name or e-mail address contains `sought`; `after` is an id."""

    sought: (
        Annotated[str, StringConstraints(strip_whitespace=True, max_length=EMAIL_LENGTH), STORABLE]
        | None
    ) = None
    after: Annotated[int, Field(ge=1, le=LARGEST_ID)] | None = None


class PlatformsQuery(Body):
    """The search for connections that contain `sought` and come `after` a name."""

    sought: (
        Annotated[
            str, StringConstraints(strip_whitespace=True, max_length=PLATFORM_NAME_LENGTH), STORABLE
        ]
        | None
    ) = None
    # SQLite may hold longer names than the column's.
    after: Annotated[str, StringConstraints(max_length=LONGEST_PATH), STORABLE] | None = None


class PlatformListQuery(PlatformsQuery):
    """The same for programs, with the largest number of connections to return."""

    limit: _Limit = MOST_OF_A_LIST


class FindQuery(PlatformsQuery):
    """The query of the switcher's search; `next` is the page to return to."""

    next: Path = ""


class LoginsQuery(Body):
    """The part of a list of logins that is wanted: those with an id below `before`."""

    before: Annotated[int, Field(ge=1, le=LARGEST_BIG_ID)] | None = None


class LoginListQuery(LoginsQuery):
    """The same for programs, with the largest number of logins to return."""

    limit: _Limit = MOST_OF_A_LIST


class NoBody(Body):
    """Nothing, or an empty object."""

    may_be_absent = True


BodyT = TypeVar("BodyT", bound=Body)


async def read_json(body: type[BodyT]) -> BodyT:
    """Return the request's JSON body. Raises UnsupportedBody, MalformedBody, InvalidInput."""
    data = await request.get_data()
    if not data and body.may_be_absent:
        return body()
    if not request.is_json:
        raise UnsupportedBody
    try:
        if len(data) > _MANY_FIELDS_BYTES:
            _refuse_many_fields(from_json(data))
        return body.model_validate_json(data, strict=True)
    except ValueError as error:
        if isinstance(error, ValidationError):
            raise _what_is_wrong(error) from None
        raise MalformedBody from None


def _refuse_many_fields(data: object) -> None:
    """Refuse an object with many unknown fields: pydantic makes an error of each."""
    if isinstance(data, dict) and len(data) > _MOST_FIELDS:
        raise InvalidInput("There are too many fields.")


async def read_form(body: type[BodyT]) -> BodyT:
    """Return the request's form; an empty optional field counts as none. Raises InvalidInput."""
    fields: dict[str, Any] = {}
    for name, values in (await request.form).lists():
        if len(values) > 1:
            raise InvalidInput("This field was sent twice.", field=name)
        fields[name] = values[0]
    for read_by_the_gate in ("user_id", "platform_connection_id"):
        fields.pop(read_by_the_gate, None)
    for name, info in body.model_fields.items():
        if fields.get(name) == "" and not info.is_required():
            del fields[name]
    try:
        return body.model_validate(fields, strict=False)
    except ValidationError as error:
        raise _what_is_wrong(error) from None


def read_query(body: type[BodyT]) -> BodyT:
    """Return the parsed query of the address, without empty and unknown fields.

    Raises InvalidInput.
    """
    given = {name: request.args[name] for name in body.model_fields if request.args.get(name)}
    try:
        return body.model_validate(given, strict=False)
    except ValidationError as error:
        raise _what_is_wrong(error) from None


def _what_is_wrong(error: ValidationError) -> MalformedBody | InvalidInput:
    """Return the first error, without the value, because it may be a password."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return MalformedBody()
    if not first["loc"]:
        return InvalidInput("The body must be a JSON object.")
    sentence = {
        "missing": "This field is missing.",
        "extra_forbidden": "There is no such field here.",
    }.get(first["type"], f"{first['msg'].removeprefix('Value error, ')}.")
    return InvalidInput(sentence, field=str(first["loc"][0]))
