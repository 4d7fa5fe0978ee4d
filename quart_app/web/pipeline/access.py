"""Decorators of routes: public, renews at once, for no account, no page.

The session library has two more, `answers_when_stale` and `not_activity`. A route without a
decorator requires a login, is refused while the revocation list is stale and
counts as activity. So a forgotten decorator closes a route instead of opening it.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from quart import current_app, request

ViewT = TypeVar("ViewT", bound=Callable[..., Any])


class Mark(Enum):
    """A mark on a view function."""

    PUBLIC = "public"
    RENEWS_AT_ONCE = "renews_at_once"
    FOR_NO_ACCOUNT = "for_no_account"
    NO_PAGE = "no_page"


def public(view: ViewT) -> ViewT:
    """Answer without a login."""
    return _marked(view, Mark.PUBLIC)


def renews_at_once(view: ViewT) -> ViewT:
    """Record activity at once, because the user was warned that the session is about to end."""
    return _marked(view, Mark.RENEWS_AT_ONCE)


def for_no_account(view: ViewT) -> ViewT:
    """Accept requests that were made for another account than the current one."""
    return _marked(view, Mark.FOR_NO_ACCOUNT)


def no_page(view: ViewT) -> ViewT:
    """Keep a form's `next` from leading here: a download, a file, or a step of another form."""
    return _marked(view, Mark.NO_PAGE)


def after_login_shows(endpoint: str) -> Callable[[ViewT], ViewT]:
    """Lead a user who has to log in to another page afterwards, for this address holds a secret."""
    return _naming(_AFTER_LOGIN, endpoint)


def after_error_offers(endpoint: str) -> Callable[[ViewT], ViewT]:
    """Let the page of an error lead to another page: what failed here can only be started again."""
    return _naming(_AFTER_ERROR, endpoint)


def endpoint_after_login() -> str | None:
    """Return the endpoint to show after a login, if the view of this request names one."""
    return _named_by_view(_AFTER_LOGIN)


def endpoint_after_error() -> str | None:
    """Return the endpoint to start again at, if the view of this request names one."""
    return _named_by_view(_AFTER_ERROR)


def is_marked(mark: Mark, view: Callable[..., Any] | None = None) -> bool:
    """Return whether a view, by default that of the current request, has a mark."""
    if view is None:
        view = current_app.view_functions.get(request.endpoint or "")
    return mark in getattr(view, _MARKS, ())


_MARKS = "_quart_app_marks"
_AFTER_LOGIN = "_quart_app_after_login"
_AFTER_ERROR = "_quart_app_after_error"


def _naming(attribute: str, endpoint: str) -> Callable[[ViewT], ViewT]:
    def decorate(view: ViewT) -> ViewT:
        setattr(view, attribute, endpoint)
        return view

    return decorate


def _named_by_view(attribute: str) -> str | None:
    view = current_app.view_functions.get(request.endpoint or "")
    endpoint: str | None = getattr(view, attribute, None)
    return endpoint


def _marked(view: ViewT, mark: Mark) -> ViewT:
    setattr(view, _MARKS, {*getattr(view, _MARKS, ()), mark})
    return view
