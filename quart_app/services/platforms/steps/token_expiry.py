"""Read when a pasted access token expires, where the token itself says it."""

import base64
import json
from datetime import UTC, datetime

_PARTS_OF_A_JWT = 3


def expiry_of(token: str) -> datetime | None:
    """Return the expiry of a token that is a JWT (RFC 7519, section 4.1.4); None if unknown.

    Pixelfed's personal tokens are JWTs that last a year. The signature is the server's to check:
    a wrong date does no harm but a reminder at the wrong time.
    """
    parts = token.split(".")
    if len(parts) != _PARTS_OF_A_JWT:
        return None
    try:
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(float(payload["exp"]), UTC)
    except (KeyError, OverflowError, OSError, RecursionError, TypeError, ValueError):
        return None
