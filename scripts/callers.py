"""Callers of use cases that scripts call without a request."""

from datetime import UTC, datetime

from quart_app.services.caller import Caller
from quart_app.session.claims import Claims, new_session_id

_NEVER = datetime.max.replace(tzinfo=UTC)


def caller_of(user_id: int) -> Caller:
    """Return a caller who is logged in as this user, in no browser."""
    now = datetime.now(UTC)
    claims = Claims(
        user_id=user_id,
        sid=new_session_id(),
        epoch=0,
        created_at=now,
        last_activity=now,
        remember=False,
        expires_at=_NEVER,
        idle_expires_at=_NEVER,
        signed_expires_at=_NEVER,
    )
    return Caller(claims=claims, address=None, user_agent=None, request_id=None, known_devices={})
