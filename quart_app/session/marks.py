"""Marks on views: answered while the revocation list is stale, and no activity of the user."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from quart import current_app, request

_ANSWERS_WHEN_STALE: Final = "_answers_when_stale"
_IS_NO_ACTIVITY: Final = "_is_no_activity"
_STATIC: Final = "static"

ViewT = TypeVar("ViewT", bound=Callable[..., Any])


def answers_when_stale(view: ViewT) -> ViewT:
    """Let a view answer even while the revocation list is stale; it must not use the session."""
    setattr(view, _ANSWERS_WHEN_STALE, True)
    return view


def not_activity(view: ViewT) -> ViewT:
    """Let requests of a view not count as activity, such as those that an open page sends."""
    setattr(view, _IS_NO_ACTIVITY, True)
    return view


def is_answered_when_stale() -> bool:
    """Return whether the request's view answers while the list is stale, as static files do."""
    return _is_marked(_ANSWERS_WHEN_STALE, None)


def is_activity(view: Callable[..., Any] | None = None) -> bool:
    """Return whether a view, by default the request's, counts as activity. Static files don't."""
    return not _is_marked(_IS_NO_ACTIVITY, view)


def _is_marked(mark: str, view: Callable[..., Any] | None) -> bool:
    if view is None:
        if request.endpoint == _STATIC:
            return True
        view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, mark, False)
