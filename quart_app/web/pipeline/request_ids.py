"""Request ids: made here for each request, and never taken from a client."""

import secrets
from typing import Any, cast

from quart import request as current_request
from quart.wrappers import Request

from quart_app.observed_request import observed_request

_BYTES = 12  # 24 characters: collisions are practically impossible


class IdentifiedRequest(Request):
    """A request that gets its id first, before its session or anything else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request_id = observed_request_id()


def new_request_id() -> str:
    """Return a new id for a request. An id from a client would not be unique."""
    return secrets.token_hex(_BYTES)


def observed_request_id() -> str:
    """Return the id of the request that is being answered; outside one, a new id."""
    observed = observed_request()
    return observed.request_id if observed else new_request_id()


def request_id_of(request: Request) -> str:
    """Return the id of a request of the application."""
    return cast(IdentifiedRequest, request).request_id


def request_id() -> str:
    """Return the id of the current request."""
    return request_id_of(current_request)
