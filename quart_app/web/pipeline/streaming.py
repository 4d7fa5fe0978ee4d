"""Answers in pieces: between two of them the session is asked for its verdict again.

The gate wraps every body of several pieces that a logged-in request gets, so no view can forget it.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, cast

from quart.wrappers import Response
from quart.wrappers.response import IterableBody

from quart_app.errors import AppError
from quart_app.services.caller import Caller
from quart_app.services.sessions.events import Events, Stream

_log = logging.getLogger(__name__)


class StreamCut(Exception):  # noqa: N818 named for the fact
    """The answer must not continue.

    The server closes the connection before the body's end, so that the client does not mistake the
    part that it has for the whole.
    """


class JudgedBody(IterableBody):
    """A body that ends with its session. Views use it if the source itself sees to that."""


def end_with_session(response: Response, caller: Callable[[], Caller], events: Events) -> None:
    """Let an answer in pieces stop as soon as its session has ended, or its rights are gone."""
    if type(response.response) is IterableBody:
        response.response = JudgedBody(_judged(response.response, caller(), events))


async def _judged(body: IterableBody, caller: Caller, events: Events) -> AsyncIterator[Any]:
    stream = Stream.of(caller)
    with events.following(stream):
        async with aclosing(cast(Any, body.iter)) as pieces:
            try:
                async for piece in pieces:
                    if events.is_over(stream):
                        _cut(caller, "its session has ended")
                    yield piece
            except AppError as error:  # a right, or the database, is gone
                _cut(caller, error.code)


def _cut(caller: Caller, reason: str) -> None:
    _log.warning("The answer to request %s was cut off: %s", caller.request_id, reason)
    raise StreamCut(reason)
