"""Errors as HTTP responses: an AppError's status, as a page or as problem+json (RFC 9457)."""

from collections.abc import Awaitable, Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

from quart import Quart, Response, current_app, redirect, request, url_for
from quart.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from quart_app import errors
from quart_app.errors import Category
from quart_app.web.pipeline import last_resort
from quart_app.web.pipeline.access import endpoint_after_error, endpoint_after_login
from quart_app.web.pipeline.headers import TRY_AGAIN_LATER, with_retry_after
from quart_app.web.pipeline.problems import BAD_REQUEST, is_for_program, problem_document
from quart_app.web.pipeline.request_errors import BodyTooLarge, PlatformChanged
from quart_app.web.pipeline.root_path import current_full_path
from quart_app.web.rendering.local_paths import safe_local_path
from quart_app.web.rendering.pages import error_page

_STATUS: Final = {
    Category.MALFORMED: HTTPStatus.BAD_REQUEST,
    Category.NOT_AUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Category.NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    Category.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Category.CONFLICT: HTTPStatus.CONFLICT,
    Category.GONE: HTTPStatus.GONE,
    Category.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Category.UNSUPPORTED: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Category.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    Category.TOO_MANY: HTTPStatus.TOO_MANY_REQUESTS,
    Category.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Category.UPSTREAM: HTTPStatus.BAD_GATEWAY,
    Category.FAILED: HTTPStatus.INTERNAL_SERVER_ERROR,
}
# The sentences for errors of the framework.
_SENTENCES: Final = {
    HTTPStatus.BAD_REQUEST: BAD_REQUEST[1],
    HTTPStatus.NOT_FOUND: errors.NotFound.default_sentence,
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not support that method.",
    HTTPStatus.REQUEST_TIMEOUT: "The request took too long to arrive.",
    HTTPStatus.INTERNAL_SERVER_ERROR: last_resort.SENTENCE,
}
# The headings of error pages whose error has none of its own.
_HEADINGS: Final = {
    HTTPStatus.BAD_REQUEST: "Bad request",
    HTTPStatus.UNAUTHORIZED: "Wrong name or password",
    HTTPStatus.FORBIDDEN: "You can't open this page",
    HTTPStatus.NOT_FOUND: "Page not found",
    HTTPStatus.METHOD_NOT_ALLOWED: "Method not allowed",
    HTTPStatus.REQUEST_TIMEOUT: "The request took too long",
    HTTPStatus.CONFLICT: "This can't be done now",
    HTTPStatus.GONE: "This link is no longer valid",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Too much data",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "Unsupported format",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Something you entered is not valid",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many attempts",
    HTTPStatus.INTERNAL_SERVER_ERROR: last_resort.HEADING,
    HTTPStatus.SERVICE_UNAVAILABLE: "Temporarily unavailable",
    HTTPStatus.BAD_GATEWAY: "The other server failed",
}
_MAY_WORK_LATER: Final = TRY_AGAIN_LATER | {
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.REQUEST_TIMEOUT,
}
_NOTHING_TO_START: Final = {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
_FORM_PAGE: Final = "form_page"
# Errors that are no mistake in a form.
NOT_OF_THE_FORM: Final = (
    errors.Forbidden,
    errors.NotFound,
    errors.NotLoggedIn,
    errors.Unavailable,
    errors.UserInactive,
)

ViewT = TypeVar("ViewT", bound=Callable[..., Any])


def install(app: Quart) -> None:
    """Let every error of `app` be answered here."""
    app.register_error_handler(errors.AppError, _app_error)
    app.register_error_handler(HTTPException, _http_exception)


def status_of(error: errors.AppError | type[errors.AppError]) -> HTTPStatus:
    """Return the HTTP status that an AppError is answered with."""
    return _STATUS[error.category]


def shows_form_again(
    form_page: Callable[..., Awaitable[Response]],
    *,
    unless: tuple[type[errors.AppError], ...] = NOT_OF_THE_FORM,
) -> Callable[[ViewT], ViewT]:
    """Answer a refused form with the form again, as it was filled in, and with the error.

    `form_page` takes the route's own arguments and `error`. Errors of `unless` are no mistakes in
    the form and have their own page.
    """

    def decorate(view: ViewT) -> ViewT:
        @wraps(view)
        async def checked(**arguments: Any) -> ResponseReturnValue:
            try:
                answer: ResponseReturnValue = await view(**arguments)
            except unless:
                raise
            except errors.AppError as error:
                return with_retry_after(await form_page(**arguments, error=error), error)
            return answer

        setattr(checked, _FORM_PAGE, form_page)
        return cast(ViewT, checked)

    return decorate


async def _app_error(error: errors.AppError) -> ResponseReturnValue:
    if isinstance(error, errors.Unavailable) and error.__cause__ is not None:
        current_app.logger.error("unavailable: %s", _cause(error))
    if isinstance(error, errors.NotLoggedIn) and not is_for_program(request, current_app):
        # After the login, return to the requested page or, for a form, to the page with it.
        login_page = url_for("accounts.login_page", next=_path_to_return_to())
        return redirect(login_page, HTTPStatus.SEE_OTHER)
    if isinstance(error, PlatformChanged) and not is_for_program(request, current_app):
        view = current_app.view_functions[request.endpoint or ""]
        if form_page := getattr(view, _FORM_PAGE, None):
            try:
                shown: Response = await form_page(**(request.view_args or {}), error=error)
            except errors.AppError as other:  # its object has been removed meanwhile
                return await _app_error(other)
            return shown
    response = await _answer(
        status_of(error), error.code, error.sentence, field=error.field, heading=error.heading
    )
    return with_retry_after(response, error)


def _path_to_return_to() -> str | None:
    """Return the path asked for or, for a form, that of the page it is on; None if unknown."""
    if endpoint := endpoint_after_login():
        return url_for(endpoint)
    return current_full_path() if request.method == "GET" else _referring_path()


def _referring_path() -> str | None:
    """Return the path of the page of ours that sent this; None where there is none."""
    try:
        referrer = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return None
    if referrer.netloc != request.host or not referrer.path:
        return None
    return referrer._replace(scheme="", netloc="", fragment="").geturl()


async def _http_exception(error: HTTPException) -> ResponseReturnValue:
    if isinstance(error, RequestEntityTooLarge):  # more parts than a form may have
        return await _app_error(BodyTooLarge())
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    if status < HTTPStatus.BAD_REQUEST:  # a redirect of the router's
        return error.get_response()
    sentence = _SENTENCES.get(status, f"{status.phrase}.")
    response = await _answer(status, status.phrase.lower().replace(" ", "_"), sentence)
    if allow := dict(error.get_headers()).get("Allow"):
        response.headers["Allow"] = allow
    return response


async def _answer(
    status: HTTPStatus,
    code: str,
    sentence: str,
    *,
    field: str | None = None,
    heading: str | None = None,
) -> Response:
    if is_for_program(request, current_app):
        return problem(status, code, sentence, field=field)
    heading = heading or _HEADINGS.get(status, status.phrase)
    start_again = try_again = None
    if (endpoint := endpoint_after_error()) and status not in _NOTHING_TO_START:
        start_again = url_for(endpoint)
    elif status in _MAY_WORK_LATER:
        try_again = safe_local_path(_path_to_return_to() or "") or url_for("platforms.dashboard")
    return await error_page(status, heading, sentence, try_again=try_again, start_again=start_again)


def problem(status: HTTPStatus, code: str, sentence: str, *, field: str | None = None) -> Response:
    """Return a problem document as an answer."""
    document = problem_document(status, code, sentence, field=field)
    return Response(document, status, content_type="application/problem+json")


def _cause(error: BaseException) -> str:
    """Return the first line of what the database said; later ones may hold a query's values."""
    cause = getattr(error.__cause__, "orig", None) or error.__cause__ or error
    lines = str(cause).splitlines()
    return f"{type(cause).__name__}: {lines[0] if lines else ''}"
