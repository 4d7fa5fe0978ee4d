"""Issue a reset link in an open transaction."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import UserInactive
from quart_app.model import AuditEvent, User
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.services.identity.reset_tokens import ResetLink, hash_of_token, new_token


@dataclass(frozen=True)
class ResetLinkIssuer:
    """Issues links to `address`, the page that a token opens; at most one a user works.

    A newer link, a new password or a deactivation voids it. The database holds only the hash of
    its token.
    """

    address: str
    audit: AuditWriter
    now: Callable[[], datetime]

    async def issue(
        self, db: AsyncSession, caller: Caller, user: User, *, lifetime: timedelta
    ) -> ResetLink:
        """Return a new link for a user whose row is locked or new. Raises UserInactive."""
        if not user.is_active:
            raise UserInactive
        token = new_token()
        user.reset_token_hash = hash_of_token(token)
        user.reset_expires_at = self.now() + lifetime
        await self.audit.record(db, AuditEvent.PASSWORD_RESET_LINK_MADE, caller, user_id=user.id)
        return ResetLink(
            url=f"{self.address}?token={token}",
            user_id=user.id,
            username=user.username,
            lifetime=lifetime,
            expires_at=user.reset_expires_at,
        )
