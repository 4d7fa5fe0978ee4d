"""Read forms, JSON bodies and queries into models. The model of a view is beside the view."""

from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json
from quart import request

from quart_app.errors import InvalidInput
from quart_app.web.pipeline.request_errors import MalformedBody, UnsupportedBody

_MOST_FIELDS = 50
_MANY_FIELDS_BYTES = 5 * _MOST_FIELDS  # a field has five characters at least: `"a":0`


class Body(BaseModel):
    """A request body; unknown fields and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    may_be_absent: ClassVar[bool] = False


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
