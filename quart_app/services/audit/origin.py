"""From where a use case was asked for: what the audit writes down beside what happened.

It comes by a context variable, which the gate sets for each request and only `services.audit`
reads: docs/decisions/0010-audit.md says why it is no argument of every use case.
"""

import secrets
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

_REQUEST_ID_BYTES = 12  # 24 characters: nobody meets the same one twice


@dataclass(frozen=True, slots=True)
class Origin:
    """One request; who asks is known once its session is."""

    address: str | None = None
    request_id: str | None = None
    actor_user_id: int | None = None
    sid: str | None = None


COMMAND_LINE: Final = Origin()
# Each request runs in a task of its own, and so do use cases that outlast it: tasks copy this.
origin: Final[ContextVar[Origin]] = ContextVar("quart_app_origin", default=COMMAND_LINE)


def new_request_id() -> str:
    """Return a name for a request; ours alone, for a client's own could be anybody's."""
    return secrets.token_hex(_REQUEST_ID_BYTES)
