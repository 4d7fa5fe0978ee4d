"""Registrations of this application at servers: shared where that is safe, and never too many."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.types import App, Instance
from quart_app.model import AppRegistration
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.errors import TooManyRegistrations
from quart_app.services.platforms.steps.single_flight import SingleFlight
from quart_app.storage import platform_apps as stored
from quart_app.storage.database import Database
from quart_app.storage.platform_apps import AppKey

APP_NAME: Final = "quart_app"
MOST_REGISTRATIONS: Final = 5  # at one server, within REGISTRATION_WINDOW
REGISTRATION_WINDOW: Final = timedelta(minutes=10)
# Longer than any request to a server takes: after it, the process that registered has died.
_UNDER_WAY_FOR: Final = timedelta(seconds=15)
_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Apps:
    """Finds or registers the app that a user authorizes at a server.

    Software that gives a code only to the user who authorized it can share one app. At any other
    server, two users who authorize one app in the same second could get each other's account, so
    there every attempt has an app of its own.
    """

    database: Database
    fediverse: Fediverse
    credentials: Credentials
    callback_url: str
    website: str
    now: Callable[[], datetime]
    _checks: SingleFlight[bool] = field(default_factory=SingleFlight)

    def redirect_uri_at(self, host: str) -> str:
        """Return the address that a server sends users back to, another one for each server.

        A server could send a user on to a second server, with the state of its own attempt, to be
        given the second one's code (the mix-up attack, RFC 9700 section 4.4). The second one
        sends the user to its own address, which does not fit that state.
        """
        return f"{self.callback_url}/{host}"

    async def app_for(self, instance: Instance, scope: str) -> App:
        """Return an app to authorize, a shared one without asking the server.

        Raises TooManyRegistrations, InvalidScope, and what `Fediverse.register_app` raises.
        """
        if not instance.software.binds_codes:
            return await self._registered(instance, scope, await self._begin(instance, scope))
        while True:
            found = await self._shared_or_turn(instance, scope)
            if isinstance(found, App):
                return found
            if isinstance(found, int):
                return await self._registered(instance, scope, found)
            await asyncio.sleep(_POLL_SECONDS)  # until another attempt has registered it

    async def known_app_for(self, instance: Instance, scope: str, app: App) -> App:
        """Return the app if the server still knows it, else another. Raises as `app_for`.

        An app that belongs to one attempt is new, and is not asked about.
        """
        if not instance.software.binds_codes:
            return app
        if not await self._is_known(instance, app, scope):
            await self._forget(self._key(instance, scope), app)
            return await self.app_for(instance, scope)
        return app

    async def _is_known(self, instance: Instance, app: App, scope: str) -> bool:
        """Ask the server. Attempts at the same time share one question."""

        async def ask() -> bool:
            return await self.fediverse.knows_app(instance, app, scope=scope)

        return await self._checks.run((instance.host, app.client_id), ask)

    def _key(self, instance: Instance, scope: str) -> AppKey:
        return AppKey(instance.host, self.redirect_uri_at(instance.host), scope)

    async def _shared_or_turn(self, instance: Instance, scope: str) -> App | int | None:
        """Return the shared app, or the id of the registration to carry out, or None to wait."""
        key = self._key(instance, scope)
        # Read first: attempts that wait for a slow server must not keep others from writing.
        async with self.database.read() as db:
            found, is_under_way = await self._shared(db, key)
        if found is not None or is_under_way:
            return found
        async with self.database.begin() as db:
            await stored.lock_registrations(db)
            found, is_under_way = await self._shared(db, key)
            if found is not None or is_under_way:
                return found
            return await self._add(db, key, is_shared=True)

    async def _shared(self, db: AsyncSession, key: AppKey) -> tuple[App | None, bool]:
        """Return the shared app, and whether another attempt is registering one.

        In this order: an attempt that finishes between the two queries has stored its app.
        """
        since = self.now() - _UNDER_WAY_FOR
        is_under_way = await stored.is_shared_app_under_way(db, key, since=since)
        return self._unsealed(await stored.shared_app(db, key)), is_under_way

    async def _begin(self, instance: Instance, scope: str) -> int:
        async with self.database.begin() as db:
            await stored.lock_registrations(db)
            return await self._add(db, self._key(instance, scope), is_shared=False)

    async def _add(self, db: AsyncSession, key: AppKey, *, is_shared: bool) -> int:
        """Count a registration, and return its id. Raises TooManyRegistrations."""
        now = self.now()
        times = await stored.registrations_since(db, key.host, now - REGISTRATION_WINDOW)
        if len(times) >= MOST_REGISTRATIONS:
            wait = times[-MOST_REGISTRATIONS] + REGISTRATION_WINDOW - now
            raise TooManyRegistrations(
                f"Too many accounts are being connected at {key.host}.",
                retry_after_seconds=max(1, math.ceil(wait.total_seconds())),
            )
        registration = AppRegistration(
            host=key.host,
            redirect_uri=key.redirect_uri,
            scope=key.scope,
            started_at=now,
            is_shared=is_shared,
            is_under_way=True,
        )
        await stored.add_registration(db, registration)
        return registration.id

    async def _registered(self, instance: Instance, scope: str, registration_id: int) -> App:
        """Register the app at the server, and keep the credentials of one that is shared."""
        app: App | None = None
        try:
            app = await self.fediverse.register_app(
                instance,
                name=APP_NAME,
                website=self.website,
                redirect_uri=self.redirect_uri_at(instance.host),
                scope=scope,
            )
        finally:
            await asyncio.shield(self._finish(registration_id, app))
        return app

    async def _finish(self, registration_id: int, app: App | None) -> None:
        async with self.database.begin() as db:
            registration = await stored.registration(db, registration_id)
            if registration is None:  # purged meanwhile
                return
            registration.is_under_way = False
            if app is not None and registration.is_shared:
                registration.client_id = app.client_id
                registration.client_secret = self.credentials.seal(app.client_secret)

    async def _forget(self, key: AppKey, app: App) -> None:
        """Forget a shared app that its server no longer knows."""
        async with self.database.begin() as db:
            await stored.lock_registrations(db)
            registration = await stored.shared_app(db, key)
            if registration is not None and registration.client_id == app.client_id:
                registration.client_id = registration.client_secret = None

    def _unsealed(self, registration: AppRegistration | None) -> App | None:
        """Return the app of a registration; None if no key opens its secret."""
        if registration is None or registration.client_id is None:
            return None
        secret = self.credentials.unseal(registration.client_secret or "")
        return None if secret is None else App(registration.client_id, secret)
