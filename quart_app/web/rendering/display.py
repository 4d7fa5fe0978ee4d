"""Error boundaries for displayed values: a failure hides the value, but never breaks the page.

User agents, names and times come from strangers and from old databases, and libraries that turn
them into words raise on some of them.
"""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from markupsafe import Markup
from quart import Quart

from quart_app.text.printable import printable

P = ParamSpec("P")

_log = logging.getLogger(__name__)


def install(app: Quart) -> None:
    """Let templates write `safely(macro, …)` around a part that a page can do without."""
    app.jinja_env.globals["safely"] = _safely


def displayed(*, otherwise: str) -> Callable[[Callable[P, str]], Callable[P, str]]:
    """Make a text function return one printable line, or `otherwise` if it fails.

    The log gets one line with the cause.
    """

    def wrap(make: Callable[P, str]) -> Callable[P, str]:
        @wraps(make)
        def make_or_not(*args: P.args, **kwargs: P.kwargs) -> str:
            try:
                return printable(make(*args, **kwargs))
            except Exception as error:  # noqa: BLE001 any failure of any library
                _tell(make.__name__, error)
                return otherwise

        return make_or_not

    return wrap


def _safely(macro: Callable[..., str], *args: Any) -> str:
    try:
        return macro(*args)
    except Exception as error:  # noqa: BLE001
        _tell(getattr(macro, "name", "a macro"), error)
        return Markup()


def _tell(what: str, error: Exception) -> None:
    _log.warning("%s can't be displayed: %s: %s", what, type(error).__name__, error)
