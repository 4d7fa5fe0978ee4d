"""Addresses in templates: each is built once, because a page has some forty of them."""

from functools import lru_cache
from typing import Any, Final

from quart import Quart, request

# The addresses of pages and files are far fewer; those with ids and searches come and go.
_MOST_ADDRESSES: Final = 2048


def install(app: Quart) -> None:
    """Let `url_for` in templates of `app` remember what it has built."""

    # An address depends on the path before the application's, and on nothing else of the request.
    @lru_cache(_MOST_ADDRESSES)
    def built(_root_path: str, endpoint: str, *values: tuple[str, Any]) -> str:
        return app.url_for(endpoint, **dict(values))

    def url_for(endpoint: str, **values: Any) -> str:
        return built(request.root_path, endpoint, *values.items())

    app.jinja_env.globals["url_for"] = url_for
