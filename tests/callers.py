"""Callers of use cases that tests call without HTTP."""

from datetime import UTC, datetime
from typing import Any, Final

from quart_app.services.caller import Caller
from quart_app.session.claims import Claims

NOBODY: Final = Caller.command_line()
A_SID: Final = "s" * 22
_UNREACHABLE_EPOCH: Final = 2**62  # an epoch that no revocation reaches


def caller_of(user_id: int, *, sid: str = A_SID, **origin: Any) -> Caller:
    """Return a caller whose login has not ended; `origin` holds the other fields of Caller."""
    claims = Claims(
        user_id=user_id,
        sid=sid,
        epoch=_UNREACHABLE_EPOCH,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        last_activity=datetime(2026, 1, 1, tzinfo=UTC),
        remember=False,
        expires_at=datetime.max.replace(tzinfo=UTC),
        idle_expires_at=datetime.max.replace(tzinfo=UTC),
        signed_expires_at=datetime.max.replace(tzinfo=UTC),
    )
    return caller_from(claims=claims, **origin)


def caller_from(
    *,
    claims: Claims | None = None,
    address: str | None = None,
    user_agent: str | None = None,
    request_id: str | None = None,
) -> Caller:
    """Return a caller in a request, from an address."""
    return Caller(
        claims=claims,
        address=address,
        user_agent=user_agent,
        request_id=request_id,
        known_devices={},
    )
