"""Server-sent events (WHATWG HTML, section 9.2): events for the open pages of a session."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from quart import Blueprint, Response, request
from quart.typing import ResponseReturnValue

from quart_app.errors import TooManyStreams
from quart_app.services.sessions.events import Event, Events, Kind, Stream
from quart_app.session import not_activity
from quart_app.web.pipeline.gate import caller, services
from quart_app.web.pipeline.json_views import Contract, keeps
from quart_app.web.pipeline.streaming import JudgedBody

blueprint = Blueprint("api_session_events", __name__, url_prefix="/api")

_MEDIA_TYPE: Final = "text/event-stream"
_SIGN_OF_LIFE: Final = ":\n\n"  # a comment: no event, and a proxy sees that the stream is alive


class SentEvent(BaseModel):
    """An event as a reader of the stream gets it."""

    model_config = ConfigDict(extra="forbid")

    event: Kind
    data: Annotated[str, Field(json_schema_extra={"contentMediaType": "application/json"})]


@blueprint.get("/session_events")
@not_activity
@keeps(Contract(answer=SentEvent, media_type=_MEDIA_TYPE, errors=(TooManyStreams,)))
async def session_events() -> ResponseReturnValue:
    """Stream switches, changed connections and the session's end as they happen.

    The stream is open as long as the session lasts, so it must not hold a transaction open.
    """
    events = services().events
    events.check_limit(caller())
    is_asked_for_head = request.method == "HEAD"
    # The stream reports the session's end itself, as its last piece.
    response = Response("" if is_asked_for_head else JudgedBody(_told(events, Stream.of(caller()))))
    response.headers["Content-Type"] = _MEDIA_TYPE
    response.headers["X-Accel-Buffering"] = "no"  # else nginx buffers it to its end
    response.timeout = None
    return response


async def _told(events: Events, stream: Stream) -> AsyncIterator[str]:
    async for event in events.subscribe(stream):
        yield _written(event)


def _written(event: Event) -> str:
    if event.kind is None:
        return _SIGN_OF_LIFE
    return f"event: {event.kind}\ndata: {json.dumps(event.data)}\n\n"
