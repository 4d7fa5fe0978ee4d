"""Errors of requests to another server. Every sentence names the server and the next step."""

from typing import Final

from quart_app.errors import AppError, Category


class ServerError(AppError):
    """A request to another server failed; `host` is that server."""

    category = Category.UPSTREAM
    code = "server_error"

    def __init__(
        self, host: str, sentence: str | None = None, *, retry_after_seconds: int | None = None
    ) -> None:
        template = sentence or self.default_sentence
        super().__init__(
            template.replace("{host}", host), field=None, retry_after_seconds=retry_after_seconds
        )
        self.host = host


class ServerUnreachable(ServerError):  # noqa: N818 errors here are named for the fact
    """No answer: no such name, no connection, no valid certificate, or an answer cut off."""

    code = "server_unreachable"
    default_sentence = "{host} can't be reached. Check its address, or try again later."


class ServerFailed(ServerUnreachable):
    """The server answered with a status of its own failure (5xx)."""

    default_sentence = "{host} reports a problem of its own. Try again later."


class ServerTooSlow(ServerError):  # noqa: N818
    """The server did not answer completely in time."""

    code = "server_too_slow"
    default_sentence = "{host} takes too long to answer. Try again later."


class ServerNotSupported(ServerError):  # noqa: N818
    """The server answered, but not as a server with Mastodon's API answers."""

    code = "server_not_supported"
    default_sentence = (
        "{host} doesn't answer like a Mastodon or Pixelfed server. Check its address."
    )


class ServerMoved(ServerNotSupported):
    """The server redirects to another host, which is never followed; `moved_to` is that host."""

    code = "server_moved"
    default_sentence = "{host} has moved to {moved_to}. Enter that address instead."

    def __init__(self, host: str, moved_to: str) -> None:
        super().__init__(host, self.default_sentence.replace("{moved_to}", moved_to))
        self.moved_to = moved_to


class ServerBusy(ServerError):  # noqa: N818
    """The server limits requests, or too many of ours to it are waiting."""

    category = Category.UNAVAILABLE
    code = "busy"
    default_sentence = "{host} gets too many requests from here."


class TokenRefused(ServerError):  # noqa: N818
    """The server refuses the access token or the refresh token (400, 401, 403 or 422)."""

    category = Category.INVALID
    code = "token_refused"
    default_sentence = "{host} refuses the access token. Connect the account again."


class CodeRefused(ServerError):  # noqa: N818
    """The server refuses the authorization code: it is used, expired or another app's."""

    category = Category.GONE
    code = "code_refused"
    default_sentence = "{host} no longer accepts this authorization. Connect the account again."


class AppRefused(ServerError):  # noqa: N818
    """The server does not know the registered app (any more). A new registration may help."""

    code = "app_refused"
    default_sentence = "{host} no longer knows this application. Connect the account again."


class InvalidScope(ServerError):  # noqa: N818
    """The server refuses the scope; the use case tries the next one of `scopes_to_try`."""

    code = "invalid_scope"
    default_sentence = (
        "{host} refuses the permissions that are needed. Paste an access token instead."
    )


# Each may be raised where a server is asked.
SERVER_ERRORS: Final[tuple[type[ServerError], ...]] = (
    *(ServerUnreachable, ServerTooSlow, ServerNotSupported, ServerMoved, ServerBusy),
    *(TokenRefused, CodeRefused, AppRefused, InvalidScope),
)
