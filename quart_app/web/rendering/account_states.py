"""The state of an account in words: how it can be used, and what its last check found."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from quart import Quart

from quart_app.fediverse import errors
from quart_app.model import PlatformConnection
from quart_app.model.platform_accounts import ConnectionState
from quart_app.services.platforms.errors import CredentialsLost, OtherAccountAuthorized
from quart_app.web.pipeline.gate import now
from quart_app.web.rendering.template_filters import ago


class Problem(NamedTuple):
    """A check's finding, as the end of a sentence, and a sentence with the next step."""

    words: str
    next_step: str


_LATER: Final = "Try again later."
_RECONNECT: Final = "Reconnect the account."
_OTHER_PROBLEM: Final = Problem("something went wrong", _LATER)
# By the code of the check's error.
_PROBLEMS: Final = {
    errors.TokenRefused.code: Problem("the server no longer accepts the access", _RECONNECT),
    errors.ServerUnreachable.code: Problem("the server can't be reached", _LATER),
    errors.ServerTooSlow.code: Problem("the server takes too long to answer", _LATER),
    errors.ServerNotSupported.code: Problem(
        "the server doesn't answer like a Mastodon or Pixelfed server", _LATER
    ),
    errors.ServerMoved.code: Problem(
        "the server has moved to another address", "Connect the account there."
    ),
    errors.ServerBusy.code: Problem("the server gets too many requests from here", _LATER),
    CredentialsLost.code: Problem("the stored access token can't be decrypted", _RECONNECT),
    OtherAccountAuthorized.code: Problem(
        "the access token belongs to another account now", _RECONNECT
    ),
}


class Badge(NamedTuple):
    """A state in words. `kind` is `off`, `bad` or `soon`, and sets the colour."""

    kind: str
    words: str


def install(app: Quart) -> None:
    """Let templates write `connection|states` and `connection|problem`."""
    app.jinja_env.filters.update(
        states=lambda connection: list(states_of(connection, now())), problem=problem_of
    )


def states_of(connection: PlatformConnection, at: datetime) -> Iterator[Badge]:
    """Yield what keeps an account from being used, now or soon; nothing for one that works."""
    if connection.state is ConnectionState.DISABLED:
        yield Badge("off", "switched off")
    account = connection.account
    if account is None:
        return
    if account.reconnect_needed_since is not None:
        yield Badge("bad", "reconnect needed")
    elif account.token_expires_at is not None and account.expires_soon(at):
        is_over = account.token_expires_at <= at
        when = ago(account.token_expires_at, at)
        yield Badge("soon", f"access {'expired' if is_over else 'expires'} {when}")


def problem_of(connection: PlatformConnection) -> str:
    """Return what the last check of an account found; empty if the account works."""
    account = connection.account
    if account is None:
        return ""
    if account.problem is None:
        is_lost = account.reconnect_needed_since is not None
        return problem_with(errors.TokenRefused.code).words if is_lost else ""
    return problem_with(account.problem).words


def problem_with(code: str) -> Problem:
    """Return what a check found, by the code of its error."""
    return _PROBLEMS.get(code, _OTHER_PROBLEM)
