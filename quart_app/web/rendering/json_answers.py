"""Parts of JSON answers that several resources of the API have in common."""

from datetime import datetime
from typing import Annotated

from pydantic import Field
from quart import request, url_for

from quart_app.session import timestamp
from quart_app.web.pipeline.bodies import Body
from quart_app.web.pipeline.claims import current_connection_id
from quart_app.web.pipeline.gate import now, required_claims
from quart_app.web.pipeline.json_views import Answer

Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class SessionState(Answer):
    """The session's user, current platform connection and expiry times."""

    user_id: int
    platform_connection_id: int | None
    created_at: Timestamp
    last_activity: Timestamp
    expires_at: Timestamp
    idle_expires_at: Timestamp
    now: Timestamp


def session_state() -> SessionState:
    """Return the session's user, current connection and expiry times, from the cookie alone."""
    claims = required_claims()
    return SessionState(
        user_id=claims.user_id,
        platform_connection_id=current_connection_id(claims),
        created_at=timestamp(claims.created_at),
        last_activity=timestamp(claims.last_activity),
        expires_at=timestamp(claims.expires_at),
        idle_expires_at=timestamp(claims.idle_expires_at),
        now=timestamp(now()),
    )


def timestamp_or_none(time: datetime | None) -> str | None:
    """Return the time in the API's format; None if the stored time cannot be read."""
    return None if time is None else timestamp(time)


def link_to_next(query: Body, **cursor: str | int | None) -> dict[str, str]:
    """Return the Link header to the next part of a list (RFC 8288); empty for the last part."""
    if None in cursor.values():
        return {}
    asked = query.model_dump(exclude_unset=True, exclude_none=True)
    address = url_for(request.endpoint or "", **(asked | cursor))
    return {"Link": f'<{address}>; rel="next"'}
