"""Errors for programs: problem documents (RFC 9457), and who gets one instead of a page."""

import json
from http import HTTPStatus
from typing import Any, Final

from quart import Quart
from quart.wrappers import Request

from quart_app.web.pipeline.json_views import contract_of

API_PREFIX: Final = "/api/"
# The code and the sentence for a request that can't be understood.
BAD_REQUEST: Final = ("bad_request", "This request can't be understood.")


def is_api(request: Request) -> bool:
    """Return whether the request is for the JSON API."""
    return request.path.startswith(API_PREFIX)


def is_for_program(request: Request, app: Quart) -> bool:
    """Return whether a program reads the answer.

    That is so below /api, at any other view with a contract, and if it does not accept HTML.
    """
    view = app.view_functions.get(request.endpoint or "")
    if is_api(request) or (view is not None and contract_of(view) is not None):
        return True
    accepted = request.accept_mimetypes
    return bool(accepted) and not accepted.accept_html and "*/*" not in request.headers["Accept"]


def problem_document(
    status: HTTPStatus, code: str, sentence: str, *, field: str | None = None
) -> str:
    """Return a problem document; `field` names the invalid input."""
    document: dict[str, Any] = {
        "type": f"urn:quart_app:problem:{code}",
        "title": sentence,
        "status": int(status),
        "code": code,
    }
    if field is not None:
        document["field"] = field
    return json.dumps(document)
