"""Begin a session: what is signed into the cookie is decided here, in the transaction of the login.

Ending one on every process has its place here, too: nothing does so yet.
"""

import base64
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

SID_BYTES = 16  # 128 bits from the system's generator (OWASP ASVS 5.0, 7.2.3)


@dataclass(frozen=True, kw_only=True)
class NewSession:
    """A session that has just begun; web signs it into the browser's cookie."""

    user_id: int
    platform_connection_id: int | None
    sid: str
    epoch: int
    created_at: datetime
    expires_at: datetime
    remember: bool


@dataclass(frozen=True)
class Sessions:
    """How long sessions may last, whatever their user does."""

    absolute: timedelta
    remember_absolute: timedelta

    def begin(
        self,
        *,
        user_id: int,
        epoch: int,
        platform_connection_id: int | None,
        remember: bool,
        now: datetime,
    ) -> NewSession:
        """Return a session under a new id, which nobody could guess."""
        return NewSession(
            user_id=user_id,
            platform_connection_id=platform_connection_id,
            sid=base64.urlsafe_b64encode(secrets.token_bytes(SID_BYTES)).rstrip(b"=").decode(),
            epoch=epoch,
            created_at=now,
            expires_at=now + (self.remember_absolute if remember else self.absolute),
            remember=remember,
        )
