"""The request that is being answered, as logs and metrics see it.

The router knows a request's route, but requests are counted outside it, where also those pass that
it never sees. A context variable connects the two. Use cases don't read it: they get a Caller.
"""

from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Final

UNMATCHED: Final = "unmatched"


@dataclass(slots=True)
class ObservedRequest:
    """A request under way; the router adds the template of its route.

    `trace_id` is that of W3C Trace Context, 32 hexadecimal digits; None if the client sent none.
    """

    request_id: str
    trace_id: str | None = None
    route: str = UNMATCHED


_current: ContextVar[ObservedRequest | None] = ContextVar("observed_request", default=None)


def begin(observed: ObservedRequest) -> Token[ObservedRequest | None]:
    """Make this the request that is being answered, until `end` gets the token."""
    return _current.set(observed)


def end(token: Token[ObservedRequest | None]) -> None:
    """Forget the request that `begin` began."""
    _current.reset(token)


def observed_request() -> ObservedRequest | None:
    """Return the request that is being answered; None outside one."""
    return _current.get()


def note_route(template: str) -> None:
    """Note the route of the request that is being answered."""
    observed = _current.get()
    if observed is not None:
        observed.route = template
