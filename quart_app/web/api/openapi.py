"""The description of the JSON API (OpenAPI 3.1), made from the routes and their contracts."""

import inspect
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from quart import Blueprint, Quart, Response, current_app, request
from quart.typing import ResponseReturnValue
from werkzeug.routing import Rule

from quart_app.errors import AppError, InvalidInput, NotFound, NotLoggedIn, Unavailable
from quart_app.model import LARGEST_ID
from quart_app.session import answers_when_stale
from quart_app.web.pipeline.access import Mark, is_marked, no_page, public
from quart_app.web.pipeline.headers import TRY_AGAIN_LATER
from quart_app.web.pipeline.json_views import Contract, contract_of, keeps
from quart_app.web.pipeline.request_errors import (
    BodyTooLarge,
    CrossSite,
    MalformedBody,
    PlatformChanged,
    TooManyCookies,
    UnsupportedBody,
)
from quart_app.web.pipeline.request_ids import REQUEST_ID_HEADER
from quart_app.web.rendering.error_responses import status_of

blueprint = Blueprint("api_openapi", __name__)

_VERSION: Final = "1"  # of the API: another one would be incompatible
_EXTENSION: Final = "quart_app.openapi"
_REF: Final = "#/components/schemas/{model}"
_JSON: Final = "application/json"
_PROBLEM_TYPE: Final = "application/problem+json"
_ARGUMENT: Final = re.compile(r"<(?:\w+:)?(\w+)>")
_METHODS: Final = ("GET", "POST", "PATCH", "DELETE")
_OF_EVERY_REQUEST: Final = (TooManyCookies, CrossSite, BodyTooLarge, UnsupportedBody, Unavailable)
# These have the code that the framework's error pages have.
_OF_THE_FRAMEWORK: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.INTERNAL_SERVER_ERROR,
)
_PROBLEM: Final = {
    "type": "object",
    "description": "An error (RFC 9457); nothing was changed. `code` is stable, `title` is not.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "field": {"type": "string", "description": "the input at fault, if it is one"},
    },
    "required": ["type", "title", "status", "code"],
    "additionalProperties": False,
}
_HEADERS: Final = {
    REQUEST_ID_HEADER: {
        "description": "the id of this request in the logs",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "seconds after which to try again",
        "schema": {"type": "integer", "minimum": 0},
    },
    "X-User-Id": {
        "description": "the id of the user; empty if there is none",
        "schema": {"type": "string", "pattern": "^[0-9]*$"},
    },
    "X-Platform-Connection-Id": {
        "description": "the id of the current platform connection; empty if there is none",
        "schema": {"type": "string", "pattern": "^[0-9]*$"},
    },
    "Link": {
        "description": "the address of the next page, if there are more items (RFC 8288)",
        "schema": {"type": "string"},
    },
}
_CONNECTION_HEADER: Final = {
    "name": "X-Platform-Connection-Id",
    "in": "header",
    "description": "the platform connection that the request is meant for, or `none`",
    "schema": {"type": "string", "pattern": "^([0-9]{1,19}|none)$"},
}
# Answered before Quart, by quart_app/web/operations/auth_verify.py.
_AUTH_VERIFY: Final = "/auth/verify"
_IDENTITY: Final = ("X-User-Id", "X-Platform-Connection-Id")


@blueprint.get("/openapi.json")
@public
@no_page
@answers_when_stale
@keeps(Contract(answer=dict[str, Any]))
async def show() -> ResponseReturnValue:
    """Return this description."""
    if _EXTENSION not in current_app.extensions:
        current_app.extensions[_EXTENSION] = json.dumps(
            description_of(current_app, root_path=request.root_path)
        )
    return Response(current_app.extensions[_EXTENSION], content_type=_JSON)


def description_of(app: Quart, *, root_path: str = "") -> dict[str, Any]:
    """Return the OpenAPI document of every route that has a contract, below `root_path`."""
    schemas: dict[str, Any] = {"Problem": _PROBLEM}
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = app.view_functions[rule.endpoint]
        contract = contract_of(view)
        if contract is None:
            continue
        for method in _METHODS:
            if method in (rule.methods or ()):
                paths[path_of(rule)][method.lower()] = _operation(
                    rule, method, view, contract, schemas
                )
    paths[_AUTH_VERIFY]["get"] = _auth_verify()
    return {
        "openapi": "3.1.0",
        "info": {"title": "quart_app", "version": _VERSION},
        "servers": [{"url": root_path or "/"}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "headers": _HEADERS,
            "securitySchemes": {
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": app.config["SESSION_COOKIE_NAME"],
                }
            },
        },
    }


def _auth_verify() -> dict[str, Any]:
    """Return the description of the one route that is no view."""
    errors = [(HTTPStatus.FORBIDDEN, TooManyCookies), (HTTPStatus.UNAUTHORIZED, NotLoggedIn)]
    errors.append((HTTPStatus.SERVICE_UNAVAILABLE, Unavailable))
    responses = {"204": _response(HTTPStatus.NO_CONTENT, {}, more=_IDENTITY)}
    for status, error in errors:
        content = {_PROBLEM_TYPE: {"schema": _problem_with({error.code})}}
        responses[str(int(status))] = _response(status, content, more=_IDENTITY)
    return {
        "operationId": "auth_verify",
        "tags": ["operations"],
        "summary": "Tell a reverse proxy whose session a request has.",
        "description": "Every method and every path below are answered in the same way.",
        "security": [{"session": []}],
        "responses": responses,
    }


def path_of(rule: Rule) -> str:
    """Return the path of a route as the description has it, such as `/api/sessions/{login_id}`."""
    return _ARGUMENT.sub(r"{\1}", rule.rule)


def _operation(
    rule: Rule, method: str, view: Any, contract: Contract, schemas: dict[str, Any]
) -> dict[str, Any]:
    is_public, is_changing = is_marked(Mark.PUBLIC, view), method != "GET"
    meant_for_one = is_changing and not is_public and not is_marked(Mark.FOR_NO_ACCOUNT, view)
    summary, _, more = inspect.getdoc(view).partition("\n")  # type: ignore[union-attr] # ruff's D
    operation: dict[str, Any] = {
        "operationId": rule.endpoint,
        "tags": [rule.endpoint.partition(".")[0].removeprefix("api_")],
        "summary": summary,
        "parameters": [*_parameters(rule, contract), *([_CONNECTION_HEADER] * meant_for_one)],
        "security": [{}] if is_public else [{"session": []}],
        "responses": _responses(
            contract, set(_errors(contract, view, meant_for_one=meant_for_one)), schemas
        ),
    }
    if more:
        operation["description"] = more.strip()
    if contract.body is not None:
        operation["requestBody"] = {
            "required": not contract.body.may_be_absent,
            "content": {_JSON: {"schema": _schema(contract.body, "validation", schemas)}},
        }
    return operation


def _parameters(rule: Rule, contract: Contract) -> Iterator[dict[str, Any]]:
    for name in sorted(rule.arguments):
        schema = {"type": "integer", "minimum": 1, "maximum": LARGEST_ID}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    if contract.query is not None:
        for name, schema in contract.query.model_json_schema()["properties"].items():
            yield {"name": name, "in": "query", "required": False, "schema": _given(schema)}


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a value that was given; a query has no null."""
    choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    return choices[0] if len(choices) == 1 else schema


def _errors(contract: Contract, view: Any, *, meant_for_one: bool) -> Iterator[type[AppError]]:
    yield from _OF_EVERY_REQUEST
    yield from contract.errors
    if not is_marked(Mark.PUBLIC, view):
        yield from (NotLoggedIn, NotFound)  # or a user who was deactivated
    if meant_for_one:
        yield from (PlatformChanged, InvalidInput)
    if contract.body is not None:
        yield from (MalformedBody, InvalidInput)
    if contract.query is not None:
        yield InvalidInput


def _responses(
    contract: Contract, errors: set[type[AppError]], schemas: dict[str, Any]
) -> dict[str, Any]:
    codes: dict[HTTPStatus, set[str]] = defaultdict(set)
    for error in errors:
        codes[status_of(error)].add(error.code)
    for status in _OF_THE_FRAMEWORK:
        codes[status].add(status.phrase.lower().replace(" ", "_"))
    answers = {contract.status: contract.answer, **contract.others}
    responses = {
        str(int(status)): _response(
            status,
            _content(answer, contract, schemas),
            more=() if contract.query is None else ("Link",),
        )
        for status, answer in answers.items()
    }
    for status, of_status in sorted(codes.items()):
        response = responses.setdefault(str(int(status)), _response(status, {}))
        response["content"] = response.get("content", {}) | {
            _PROBLEM_TYPE: {"schema": _problem_with(of_status)}
        }
    return dict(sorted(responses.items()))


def _content(answer: Any, contract: Contract, schemas: dict[str, Any]) -> dict[str, Any]:
    if answer is None:
        return {}
    return {contract.media_type: {"schema": _schema(answer, "serialization", schemas)}}


def _problem_with(codes: set[str]) -> dict[str, Any]:
    """Return the schema of a problem document with one of these codes."""
    has_code = {"properties": {"code": {"enum": sorted(codes)}}}
    return {"allOf": [{"$ref": _REF.format(model="Problem")}, has_code]}


def _response(
    status: HTTPStatus, content: dict[str, Any], *, more: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return an answer with the headers that it has, and `more`."""
    names = [REQUEST_ID_HEADER, *more, *(["Retry-After"] * (status in TRY_AGAIN_LATER))]
    response: dict[str, Any] = {
        "description": status.phrase,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    return response | ({"content": content} if content else {})


def _schema(kind: Any, mode: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON schema; the models in it are added to `schemas`."""
    schema = TypeAdapter(kind).json_schema(mode=mode, ref_template=_REF)
    models = schema.pop("$defs", {})
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        models[kind.__name__] = schema
        schema = {"$ref": _REF.format(model=kind.__name__)}
    for name, model in models.items():
        if schemas.setdefault(name, model) != model:
            raise ValueError(f"two models of the API have the name {name}")
    return schema
