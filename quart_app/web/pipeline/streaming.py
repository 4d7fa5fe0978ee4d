"""Answers in pieces: between two of them the session is asked for its verdict again.

The gate wraps every body of several pieces that a logged-in request gets, so no view can forget it.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from quart.wrappers import Response
from quart.wrappers.response import IterableBody

from quart_app.errors import AppError
from quart_app.services.audit.origin import origin
from quart_app.services.sessions.events import Events, Stream
from quart_app.session import Claims

_log = logging.getLogger(__name__)


class StreamCut(Exception):  # noqa: N818 named for the fact
    """The answer must not go on.

    The server closes the connection before the body's end, so that the client does not take the
    part that it has for the whole.
    """


class JudgedBody(IterableBody):
    """A body that ends with its session. Views use it where the source itself sees to that."""


def stream_of(claims: Claims) -> Stream:
    """Return what follows the session of a request for as long as its answer lasts."""
    return Stream(
        user_id=claims.user_id,
        sid=claims.sid,
        epoch=claims.epoch,
        created_at=claims.created_at,
        expires_at=claims.expires_at,
        idle_expires_at=claims.idle_expires_at,
    )


def end_with_session(response: Response, claims: Claims, events: Events) -> None:
    """Let an answer in pieces stop as soon as its session has ended, or its rights are gone."""
    if type(response.response) is IterableBody:
        response.response = JudgedBody(_judged(response.response, stream_of(claims), events))


async def _judged(body: IterableBody, stream: Stream, events: Events) -> AsyncIterator[Any]:
    with events.following(stream):
        async with aclosing(cast(Any, body.iter)) as pieces:
            try:
                async for piece in pieces:
                    if events.is_over(stream):
                        _cut("its session is over")
                    yield piece
            except AppError as error:  # a right, or the database, is gone
                _cut(error.code)


def _cut(reason: str) -> None:
    _log.warning("The answer to request %s was cut off: %s", origin.get().request_id, reason)
    raise StreamCut(reason)
