"""Check rights in the transaction that needs them, so that a change of role applies at once."""

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import Forbidden, NotFound, NotLoggedIn
from quart_app.model import AuditEvent, Role
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.storage import logins as stored_logins
from quart_app.storage import users as stored_users


async def require_admin(db: AsyncSession, caller: Caller, audit: AuditWriter) -> None:
    """Make sure that the caller is an administrator or the operator; count refused callers.

    Raises Forbidden, NotFound if the user was deleted or is inactive, NotLoggedIn.
    """
    if caller.is_operator:
        return
    user = await stored_users.user_by_id(db, caller.user_id)
    if user is None or not user.is_active:
        raise NotFound
    if user.role is not Role.ADMIN:
        audit.count(AuditEvent.REFUSED_RIGHTS, caller)
        raise Forbidden


async def require_admin_to_change(db: AsyncSession, caller: Caller, audit: AuditWriter) -> None:
    """Do the same as `require_admin`. Raises NotLoggedIn if the caller's session ended."""
    if not caller.is_operator and await stored_logins.has_login_ended(db, caller.sid):
        raise NotLoggedIn
    await require_admin(db, caller, audit)
