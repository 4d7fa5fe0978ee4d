"""Attempts to connect accounts are deleted when they have expired, and access of theirs revoked."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from quart_app.fediverse.types import App
from quart_app.services.background.periodic import PeriodicTask
from quart_app.services.background.purging import Purging, purge_task
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.steps.access_revoking import AccessRevoking, GrantedAccess
from quart_app.services.platforms.steps.apps import REGISTRATION_WINDOW
from quart_app.storage.authorizations import (
    ExpiredAccess,
    delete_expired_authorizations,
    take_expired_access,
)
from quart_app.storage.platform_apps import delete_old_registrations

_REVOKED_AT_ONCE: Final = 10


@dataclass(frozen=True)
class AttemptPurges:
    """The purge of the tables that `Authorizations` and `Apps` write."""

    purging: Purging
    credentials: Credentials
    revoking: AccessRevoking

    def periodic_tasks(self) -> Sequence[PeriodicTask]:
        """Return the hourly purge."""
        return [purge_task("authorizations", self.purge)]

    async def purge(self) -> None:
        """Delete expired authorizations, and registrations that are no longer counted.

        Access that was granted and never used is revoked. Shared apps stay. Raises Unavailable.
        """
        now = await self.purging.now()
        await self.purging.delete(partial(delete_expired_authorizations, before=now))
        await self.purging.delete(
            partial(delete_old_registrations, before=now - REGISTRATION_WINDOW)
        )
        await self._revoke_expired_access(now)

    async def _revoke_expired_access(self, before: datetime) -> None:
        """Revoke the access to accounts that were shown and never added.

        If the process ends in the middle, or a server does not answer, the user still finds this
        application in the server's settings.
        """
        most = _REVOKED_AT_ONCE
        while taken := await self._take_expired_access(before, most):
            accesses = [access for each in taken if (access := self._opened(each)) is not None]
            await asyncio.gather(*(self.revoking.revoke(access) for access in accesses))

    async def _take_expired_access(self, before: datetime, most: int) -> list[ExpiredAccess]:
        async with self.purging.database.begin() as db:
            return await take_expired_access(db, before=before, most=most)

    def _opened(self, expired: ExpiredAccess) -> GrantedAccess | None:
        """Return the access; None if no key opens it, or there is none."""
        client_secret = self.credentials.unseal(expired.client_secret or "")
        token = self.credentials.unseal(expired.access_token or "")
        if client_secret is None or token is None:
            return None
        return GrantedAccess(
            host=expired.host,
            account_id=expired.account_id or "",
            app=App(expired.client_id or "", client_secret),
            token=token,
        )
