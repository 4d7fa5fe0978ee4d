"""Callers for scripts and tests, which call use cases without a request."""

from datetime import UTC, datetime
from typing import Any, Final

from quart_app.services.caller import Caller
from quart_app.session.claims import Claims

A_SID: Final = "s" * 22
_MAX_EPOCH: Final = 2**62  # no revocation ends it
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_BEGAN: Final = datetime(2026, 1, 1, tzinfo=UTC)


def caller_of(user_id: int, *, sid: str = A_SID, **origin: Any) -> Caller:
    """Return a caller who is logged in as this user; `origin` is passed to `caller_from`."""
    claims = Claims(
        user_id=user_id,
        sid=sid,
        epoch=_MAX_EPOCH,
        created_at=_BEGAN,
        last_activity=_BEGAN,
        remember=False,
        expires_at=_NEVER,
        idle_expires_at=_NEVER,
        signed_expires_at=_NEVER,
    )
    return caller_from(claims=claims, **origin)


def caller_from(
    *,
    claims: Claims | None = None,
    address: str | None = None,
    user_agent: str | None = None,
    request_id: str | None = None,
) -> Caller:
    """Return a caller with these values, as in a request."""
    return Caller(
        claims=claims,
        address=address,
        user_agent=user_agent,
        request_id=request_id,
        known_devices={},
    )
