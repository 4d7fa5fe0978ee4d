"""JSON views: what each reads, answers with and refuses.

One declaration reads the request, writes the answer, and becomes a part of /openapi.json. So the
description can't differ from what the code does.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter
from quart import Response
from quart.typing import ResponseReturnValue

from quart_app.errors import AppError
from quart_app.web.pipeline.bodies import Body, NoBody, read_json, read_query

View = Callable[..., Awaitable[ResponseReturnValue]]
ViewT = TypeVar("ViewT", bound=View)
_CONTRACT: Final = "_quart_app_contract"
_JSON: Final = "application/json"


class Answer(BaseModel):
    """A JSON object that a view answers with. All of its fields are always present."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The requests that a view for programs reads, and its answers.

    `answer` is the type of its JSON, or of each event of a stream; None means an answer without a
    body. `others` are further answers that are no errors of ours. `errors` are those of its use
    case; errors of every request are not listed.
    """

    answer: Any = None
    status: HTTPStatus = HTTPStatus.OK
    media_type: str = _JSON
    body: type[Body] | None = None
    query: type[Body] | None = None
    others: Mapping[HTTPStatus, Any] = field(default_factory=dict)
    errors: tuple[type[AppError], ...] = ()


def json_view(
    answer: Any = None,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    body: type[Body] | None = None,
    query: type[Body] | None = None,
    errors: tuple[type[AppError], ...] = (),
) -> Callable[[Callable[..., Awaitable[Any]]], View]:
    """Read the body or the query for a view, and write its answer as JSON.

    The view gets `body` (unless that is NoBody) or `query` as an argument. It returns a value of
    the type `answer`, or that and headers. Without `answer` it returns None, and its client gets
    204.
    """
    if answer is None:
        status = HTTPStatus.NO_CONTENT
    adapter: TypeAdapter[Any] = TypeAdapter(answer)

    def decorate(view: Callable[..., Awaitable[Any]]) -> View:
        @wraps(view)
        async def answered(**arguments: Any) -> ResponseReturnValue:
            if body is not None:
                read = await read_json(body)
                if body is not NoBody:
                    arguments["body"] = read
            if query is not None:
                arguments["query"] = read_query(query)
            returned = await view(**arguments)
            value, headers = returned if isinstance(returned, tuple) else (returned, {})
            if answer is None:
                return Response(b"", status, headers)
            return Response(adapter.dump_json(value), status, headers, content_type=_JSON)

        contract = Contract(answer=answer, status=status, body=body, query=query, errors=errors)
        return keeps(contract)(answered)

    return decorate


def keeps(contract: Contract) -> Callable[[ViewT], ViewT]:
    """Describe a view that reads its request and makes its answer itself."""

    def decorate(view: ViewT) -> ViewT:
        setattr(view, _CONTRACT, contract)
        return view

    return decorate


def contract_of(view: Callable[..., Any]) -> Contract | None:
    """Return what a view declared; None for a view that is not for programs."""
    return cast(Contract | None, getattr(view, _CONTRACT, None))
