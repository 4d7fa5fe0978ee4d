"""Compare the JSON API's answers with its description, /openapi.json.

Every test whose application answers in this process does so, so the description is tried on each
answer that any of these tests gets.
"""

import json
from http import HTTPStatus
from typing import Any

import jsonschema_rs
from quart import Quart, request
from quart.wrappers import Response

from quart_app.web.api.openapi import description_of, path_of
from quart_app.web.pipeline.json_views import contract_of


def note_undescribed(app: Quart, notes: list[str]) -> None:
    """Add a sentence to `notes` for each answer that the description does not allow."""

    async def compare(response: Response) -> Response:
        rule = request.url_rule
        view = app.view_functions[rule.endpoint] if rule else None
        if rule is None or view is None or contract_of(view) is None or request.method == "OPTIONS":
            return response
        media_type = response.mimetype if response.status_code != 204 else None
        text = "" if media_type == "text/event-stream" else await response.get_data(as_text=True)
        method = "GET" if request.method == "HEAD" else request.method
        operation = _description(app)["paths"].get(path_of(rule), {}).get(method.lower())
        answer = (operation or {}).get("responses", {}).get(str(response.status_code))
        problem = _problem(app, answer, media_type, text)
        if problem is not None and response.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
            notes.append(f"{method} {path_of(rule)} {response.status_code}: {problem} in {text}")
        return response

    app.after_request(compare)


def _problem(
    app: Quart, answer: dict[str, Any] | None, media_type: str | None, text: str
) -> str | None:
    if answer is None:
        return "the status is not described"
    if media_type is None:
        return "there is a body" if text else None
    content = answer.get("content", {}).get(media_type)
    if content is None:
        return f"{media_type} is not described"
    if request.method == "HEAD" or media_type == "text/event-stream":
        return None
    validator = _validator(app, json.dumps(content["schema"]))
    value = json.loads(text) if media_type.endswith("json") else text
    return next((each.message for each in validator.iter_errors(value)), None)


_DESCRIPTIONS: list[dict[str, Any]] = []


def _description(app: Quart) -> dict[str, Any]:
    """Return the description, which is the same for every application."""
    if not _DESCRIPTIONS:
        _DESCRIPTIONS.append(description_of(app))
    return _DESCRIPTIONS[0]


_VALIDATORS: dict[str, Any] = {}


def _validator(app: Quart, schema: str) -> Any:
    if schema not in _VALIDATORS:
        whole = json.loads(schema) | {"components": _description(app)["components"]}
        _VALIDATORS[schema] = jsonschema_rs.validator_for(whole)
    return _VALIDATORS[schema]
