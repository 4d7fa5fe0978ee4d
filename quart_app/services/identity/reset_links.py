"""Reset links, which let users set a password: for one use and a short time."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.errors import AppError, Category, NotFound, UserInactive
from quart_app.model import AuditEvent, EndReason, User
from quart_app.services.audit.addresses import counted_address
from quart_app.services.audit.audit import Audit
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller, KnownDevice
from quart_app.services.identity.alerts import Alerts
from quart_app.services.identity.authorization import Authorization
from quart_app.services.identity.devices import Devices
from quart_app.services.identity.hashing_queue import FairQueue
from quart_app.services.identity.new_passwords import check_new_password
from quart_app.services.identity.passwords import Passwords
from quart_app.services.sessions.device_ids import new_device_id
from quart_app.services.sessions.sessions import Sessions
from quart_app.storage import reset_links as stored_links
from quart_app.storage import users as stored_users

RESET_LINK_LIFETIME: Final = timedelta(hours=1)
# For a new user's first link, which may be sent by mail. The user has no accounts yet.
FIRST_LINK_LIFETIME: Final = timedelta(days=1)
_TOKEN_BYTES: Final = 32


class ResetLinkInvalid(AppError):  # noqa: N818 errors here are named for the fact
    """The reset link was used, has expired, is void or never existed. The error hides which."""

    category = Category.GONE
    code = "reset_link_invalid"
    default_sentence = "This link is invalid or has expired. Ask an administrator for a new one."


@dataclass(frozen=True, kw_only=True)
class ResetLink:
    """A link for an administrator or operator to pass on. It is never shown again."""

    url: str
    user_id: int
    username: str
    lifetime: timedelta
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class ResetLinks:
    """At most one link a user. A newer link, a new password or a deactivation invalidates it.

    The database holds only the hash of its token. `address` is the page that the token opens.
    """

    address: str
    passwords: Passwords
    sessions: Sessions
    alerts: Alerts
    audit: Audit
    devices: Devices
    authorization: Authorization
    hashing_queue: FairQueue
    now: Callable[[], datetime]

    async def make(
        self, caller: Caller, whose_id: int, *, current_password: str | None
    ) -> ResetLink:
        """Return a new link for a user. Raises UserInactive, NotFound.

        Raises Forbidden for callers who are not administrators, PasswordNeeded if the login is not
        fresh, BadCredentials, NotLoggedIn.
        """
        await self.devices.confirm(caller, current_password)
        async with self.sessions.database.begin() as db:
            user = await stored_users.user_by_id(db, whose_id, lock=True)
            await self.authorization.admit_to_change(db, caller)
            if user is None:
                raise NotFound
            return await self._make(db, caller, user)

    async def make_for_user_named(self, caller: Caller, username: str) -> ResetLink:
        """Return a new link, for the command line. Raises UserInactive, NotFound."""
        async with self.sessions.database.begin() as db:
            return await self._make(db, caller, await stored_users.user_named(db, username))

    async def make_first(self, db: AsyncSession, caller: Caller, user: User) -> ResetLink:
        """Return the first link of a user that this transaction has added."""
        return await self._make(db, caller, user, FIRST_LINK_LIFETIME)

    async def _make(
        self,
        db: AsyncSession,
        caller: Caller,
        user: User,
        lifetime: timedelta = RESET_LINK_LIFETIME,
    ) -> ResetLink:
        if not user.is_active:
            raise UserInactive
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        user.reset_token_hash = _hash_of(token)
        user.reset_expires_at = self.now() + lifetime
        await self.audit.record(db, AuditEvent.PASSWORD_RESET_LINK_MADE, caller, user_id=user.id)
        return ResetLink(
            url=f"{self.address}?token={token}",
            user_id=user.id,
            username=user.username,
            lifetime=lifetime,
            expires_at=user.reset_expires_at,
        )

    async def user_of(self, token: str) -> User:
        """Return the user of a link. Raises ResetLinkInvalid."""
        async with self.sessions.database.read() as db:
            user = await stored_links.user_by_reset_token(db, _hash_of(token), self.now())
        if user is None:
            raise ResetLinkInvalid
        return user

    async def use(self, caller: Caller, token: str, new_password: str) -> KnownDevice:
        """Set the password of the link's user, and end their sessions.

        No session begins: the user must still log in with the password. The device is known from
        now on, and gets no alert about this. Raises ResetLinkInvalid, InvalidInput, Busy.
        """
        # A link works once, but many concurrent uses would each be hashed, ahead of the logins.
        async with self.hashing_queue.slot(counted_address(caller.address)):
            user = await self.user_of(token)
            check_new_password(new_password, user.username, user.email)
            # A device that keeps its id keeps its answered alerts, too.
            device_id = caller.device_id_for(user) or new_device_id()
            new_hash = await self.passwords.hash(new_password)
            return await self._use(caller, token, new_hash, device_id)

    @shielded
    async def _use(self, caller: Caller, token: str, new_hash: str, device_id: str) -> KnownDevice:
        async with self.sessions.ending(caller) as ending:
            user = await stored_links.replace_password_by_link(
                ending.db, _hash_of(token), new_hash, self.now()
            )
            if user is None:
                raise ResetLinkInvalid
            await self.audit.record(ending.db, AuditEvent.PASSWORD_RESET, caller, user_id=user.id)
            await ending.end_all(user, EndReason.PASSWORD_RESET)
            await self.alerts.password_reset(ending.db, caller, user.id, device_id)
            return KnownDevice(user_id=user.id, device_id=device_id, device_epoch=user.device_epoch)


def _hash_of(token: str) -> str:
    """Return the hash of a token. Nobody can find the token, 256 random bits, from its hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
