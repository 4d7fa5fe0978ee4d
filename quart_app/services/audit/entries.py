"""The form of audit entries: the hash of a session, the details by name, the line in the log."""

import hashlib
import json
import logging
from typing import Any

from quart_app.model import SESSION_HASH_LENGTH, AuditEntry

log = logging.getLogger("quart_app.audit")


def hash_of_session(sid: str | None) -> str | None:
    """Return the hash of a session id. Nobody can find the id, 128 random bits, from its hash."""
    if sid is None:
        return None
    return hashlib.sha256(sid.encode()).hexdigest()[:SESSION_HASH_LENGTH]


def fields_of(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as the object that the log has."""
    return {
        "event": entry.event,
        "at": entry.at.isoformat(timespec="milliseconds"),
        "id": entry.id,
        "user_id": entry.user_id,
        "actor_user_id": entry.actor_user_id,
        "address": entry.address,
        "request_id": entry.request_id,
        "session": entry.session,
        "count": entry.count,
        "detail": details_of(entry) or None,
    }


def line_of(entry: AuditEntry) -> str:
    """Return an entry as one line of JSON, which holds printable ASCII only."""
    return json.dumps(fields_of(entry)).replace("\x7f", "\\u007f")


def details_of(entry: AuditEntry) -> dict[str, Any]:
    """Return the further details of an entry, by name.

    Entries from other software may hold anything. Text that is not a JSON object is returned as
    the only value, named `detail`.
    """
    if not entry.detail:
        return {}
    try:
        details = json.loads(entry.detail)
    except (ValueError, RecursionError):
        details = None
    return details if isinstance(details, dict) else {"detail": entry.detail}
