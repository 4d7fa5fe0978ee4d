"""The root path: the path of PUBLIC_URL, below which the whole application is served.

Routes, and `request.path`, are without it. Addresses that a browser sees have it: those that
`url_for` returns, a form's `next`, and redirects.
"""

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Quart, request


class UnderRootPath:
    """An ASGI application that serves another one below a root path, such as `/app`.

    A proxy may pass on the root path or remove it. In the scope that the application and the access
    log get, `path` has it (ASGI 3.0, "HTTP Connection Scope"). A request without it, such as a
    health check that no proxy passes on, is answered as well.
    """

    def __init__(self, app: ASGIFramework, root_path: str) -> None:
        self._app, self._root_path, self._below = app, root_path, f"{root_path}/"

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Complete the scope, and pass on."""
        if scope["type"] in {"http", "websocket"}:
            path = scope["path"]
            # Another path is a whole URL, which no proxy changes.
            if path.startswith("/") and not path.startswith(self._below):
                scope["path"] = self._below if path == self._root_path else self._root_path + path
            scope["root_path"] = self._root_path
        await self._app(scope, receive, send)


def is_ambiguous(root_path: str, app: Quart) -> bool:
    """Return whether a root path begins like a route.

    With `/login`, a request for `/login` could mean the login page or, if the proxy does not remove
    the root path, the start page.
    """
    first = root_path.split("/")[1]
    return any(rule.rule.split("/")[1] == first for rule in app.url_map.iter_rules())


def current_path() -> str:
    """Return the path of the current request as the browser knows it, without the query."""
    return f"{request.root_path}{request.path}"


def current_full_path() -> str:
    """Return the path and, if it has one, the query of the current request."""
    return f"{request.root_path}{request.full_path}".rstrip("?")


def without_root_path(path: str) -> str | None:
    """Return the path as routes have it; None for one that is not below the root path."""
    if not path.startswith(f"{request.root_path}/"):
        return None
    return path.removeprefix(request.root_path)
