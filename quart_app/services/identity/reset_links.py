"""Use cases of a user with a reset link: set a password, once."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from quart_app.errors import AppError, Category
from quart_app.model import AuditEvent, EndReason, User
from quart_app.services.audit.addresses import counted_address
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller, DeviceRegistration
from quart_app.services.identity.hashing_queue import FairQueue
from quart_app.services.identity.new_passwords import check_new_password
from quart_app.services.identity.passwords import Passwords
from quart_app.services.identity.reset_tokens import hash_of_token
from quart_app.services.identity.steps.alert_records import AlertRecords
from quart_app.services.sessions.device_ids import new_device_id
from quart_app.services.sessions.steps.revoking import Revoking
from quart_app.storage import reset_links as stored_links
from quart_app.storage.database import Database


class ResetLinkInvalid(AppError):  # noqa: N818 errors here are named for the fact
    """The reset link was used, has expired, is void or never existed. The error hides which."""

    category = Category.GONE
    code = "reset_link_invalid"
    default_sentence = "This link is invalid or has expired. Ask an administrator for a new one."


@dataclass(frozen=True, kw_only=True)
class ResetLinks:
    """Uses of reset links. Administrators make them: see `administration/users.py`."""

    database: Database
    passwords: Passwords
    hashing_queue: FairQueue
    revoking: Revoking
    alerts: AlertRecords
    audit: AuditWriter
    now: Callable[[], datetime]

    async def user_of(self, token: str) -> User:
        """Return the user of a link. Raises ResetLinkInvalid."""
        async with self.database.read() as db:
            user = await stored_links.user_by_reset_token(db, hash_of_token(token), self.now())
        if user is None:
            raise ResetLinkInvalid
        return user

    async def use(self, caller: Caller, token: str, new_password: str) -> DeviceRegistration:
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
    async def _use(
        self, caller: Caller, token: str, new_hash: str, device_id: str
    ) -> DeviceRegistration:
        async with self.revoking.begin(caller) as revoker:
            user = await stored_links.replace_password_by_link(
                revoker.db, hash_of_token(token), new_hash, self.now()
            )
            if user is None:
                raise ResetLinkInvalid
            await self.audit.record(revoker.db, AuditEvent.PASSWORD_RESET, caller, user_id=user.id)
            await revoker.end_all(user, EndReason.PASSWORD_RESET)
            await self.alerts.password_reset(revoker.db, caller, user.id, device_id)
            return DeviceRegistration(
                user_id=user.id, device_id=device_id, device_epoch=user.device_epoch
            )
