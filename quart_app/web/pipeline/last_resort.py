"""The last-resort answer, for failures of sessions, error pages and functions after a request.

Quart sends an empty 500 where its error handlers can't help: for a session that can't be opened, an
error page that fails, or a failing after_request or teardown function.
"""

import html
import logging
import sys
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Quart, Response, has_request_context
from quart import request as current_request
from quart.templating import Environment
from quart.typing import ResponseTypes
from quart.wrappers import Request

from quart_app.observed_request import note_route
from quart_app.web.pipeline.connection import Connection
from quart_app.web.pipeline.headers import HeadersOfEveryAnswer
from quart_app.web.pipeline.problems import is_for_program, problem_document
from quart_app.web.pipeline.request_ids import REQUEST_ID_HEADER, IdentifiedRequest, request_id_of
from quart_app.web.pipeline.streaming import StreamCut

HEADING: Final = "Something went wrong"
SENTENCE: Final = (
    "The error was logged. Please try again. If it happens again, give an administrator the"
    " request ID."
)
_CODE: Final = "internal_server_error"
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{heading} · quart_app</title></head>
<body><h1>{heading}</h1>
<p>{sentence}</p>
<p>Request ID: {request_id}</p>
<p><a href="{start_page}">Go to the start page</a></p></body>
</html>
"""

_log = logging.getLogger(__name__)


class TemplateEnvironment(Environment):
    """Quart's, whose templates await nothing: a page then takes half the time to render."""

    def __init__(self, app: Quart, **options: Any) -> None:
        super().__init__(app, **options)
        self.is_async = False


class Application(Quart):
    """Quart, whose answers always have our headers, a request id and text."""

    headers_of_every_answer: HeadersOfEveryAnswer
    request_class = IdentifiedRequest
    asgi_http_class = Connection
    jinja_environment = TemplateEnvironment

    async def asgi_app(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve a connection; the body of an answer that was cut off has no end."""
        with suppress(StreamCut):
            await super().asgi_app(scope, receive, send)

    async def handle_request(self, request: Request) -> ResponseTypes:
        """Answer a request; a failure that Quart can't answer is logged and answered here."""
        try:
            response = await super().handle_request(request)
        except Exception:  # noqa: BLE001 whatever it is, the client gets an answer
            _log_failure(request, sys.exc_info())
            return self._failure(request)
        finally:
            if request.url_rule is not None:
                note_route(request.url_rule.rule)
        # If this header is missing, the function that sets ours failed, and Quart logged that.
        return response if REQUEST_ID_HEADER in response.headers else self._failure(request)

    def log_exception(self, exception_info: Any) -> None:
        """Log an exception with the id of its request, which the visitor can quote."""
        if has_request_context():
            _log_failure(current_request, exception_info)
        else:
            self.logger.error("Exception outside of a request", exc_info=exception_info)

    def _failure(self, request: Request) -> Response:
        request_id = request_id_of(request)
        if is_for_program(request, self):
            body = problem_document(HTTPStatus.INTERNAL_SERVER_ERROR, _CODE, SENTENCE)
            content_type = "application/problem+json"
        else:
            body, content_type = (
                plain_page(request_id, f"{request.root_path}/"),
                "text/html; charset=utf-8",
            )
        return Response(
            body,
            HTTPStatus.INTERNAL_SERVER_ERROR,
            headers={REQUEST_ID_HEADER: request_id},
            content_type=content_type,
        )


def plain_page(
    request_id: str, start_page: str, heading: str = HEADING, sentence: str = SENTENCE
) -> str:
    """Return an error page that needs no template, style or database; it links to `start_page`."""
    values = {
        "heading": heading,
        "sentence": sentence,
        "request_id": request_id,
        "start_page": start_page,
    }
    return _PAGE.format_map({name: html.escape(text) for name, text in values.items()})


def _log_failure(request: Request, exception_info: Any) -> None:
    _log.error(
        "Exception in request %s: %s %s",
        *(request_id_of(request), request.method, request.path),
        exc_info=exception_info,
    )
