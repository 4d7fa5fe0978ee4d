"""Begin to connect an account by authorization: OAuth's code flow with PKCE (RFC 6749, RFC 7636).

The user names a server, allows access there, and comes back with a code, for which the server
issues tokens (see `authorization_results`). The account is then shown, and one click adds it (see
`authorized_accounts`). So nobody can be tricked into adding an account that they did not choose.
"""

import hmac
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from quart_app.fediverse.errors import InvalidScope
from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.scopes import scopes_to_try
from quart_app.fediverse.types import App, Instance
from quart_app.model import LARGEST_ID, PlatformAuthorization
from quart_app.services.audit.steps.writer import AuditWriter
from quart_app.services.caller import Caller
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.errors import AuthorizationInvalid, TooManyAuthorizations
from quart_app.services.platforms.platform_fields import checked_server
from quart_app.services.platforms.steps.apps import Apps
from quart_app.services.platforms.steps.authorization_records import (
    app_of,
    authorization_of_caller,
    hash_of,
    keep_app,
    opened,
)
from quart_app.services.platforms.steps.instance_directory import InstanceDirectory
from quart_app.services.platforms.steps.outbound_limit import OutboundLimit
from quart_app.services.platforms.steps.owners import active_user, own_connection
from quart_app.storage import authorizations as stored
from quart_app.storage.database import Database

AUTHORIZATION_LIFETIME: Final = timedelta(minutes=10)
MOST_AUTHORIZATIONS: Final = 30  # of one user, within AUTHORIZATION_LIFETIME
_STATE_BYTES: Final = 32
_VERIFIER_BYTES: Final = 48  # 64 characters; RFC 7636 section 4.1 wants 43 to 128
_LANGUAGE: Final = "en"  # of our pages


@dataclass(frozen=True, kw_only=True)
class BegunAuthorization:
    """An authorization to carry out at a server. `state` goes into a cookie of the browser."""

    id: int
    state: str
    host: str
    software: str
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Authorizations:
    """A user's authorizations until their browser goes to the server.

    Secrets are sealed in the database. Of a state only the hash is kept.
    """

    database: Database
    fediverse: Fediverse
    directory: InstanceDirectory
    apps: Apps
    credentials: Credentials
    limit: OutboundLimit
    audit: AuditWriter
    now: Callable[[], datetime]

    async def begin(
        self,
        caller: Caller,
        server: str,
        *,
        platform_connection_id: int | None = None,
        scopes: Sequence[str] | None = None,
    ) -> BegunAuthorization:
        """Recognize a server, and prepare an authorization there.

        `platform_connection_id` is the user's connection to renew; `scopes` are those to try.
        Raises InvalidInput, TooManyAuthorizations, TooManyRegistrations, NotFound, ServerError.
        """
        host = checked_server(server)
        state = secrets.token_urlsafe(_STATE_BYTES)
        # Counted before the server is asked, so that a user can't have servers asked at will.
        begun = await self._add(caller, host, state, platform_connection_id)
        instance = await self.directory.instance_at(host)
        app, scope = await self._app_for(instance, scopes or scopes_to_try(instance))
        async with self.database.begin() as db:
            authorization = await authorization_of_caller(db, caller, begun.id, self.now())
            authorization.software = instance.software.name
            keep_app(self.credentials, authorization, app, scope)
        return BegunAuthorization(
            id=begun.id,
            state=state,
            host=host,
            software=instance.software.name,
            expires_at=begun.expires_at,
        )

    async def begun(
        self, caller: Caller, authorization_id: int, state: str
    ) -> PlatformAuthorization:
        """Return an authorization that this browser began and has not come back from.

        Raises AuthorizationInvalid.
        """
        async with self.database.read() as db:
            authorization = await authorization_of_caller(db, caller, authorization_id, self.now())
        is_same = hmac.compare_digest(authorization.state_hash, hash_of(state))
        if not is_same or authorization.returned_at is not None or authorization.scope is None:
            raise AuthorizationInvalid
        return authorization

    async def authorization_url(self, caller: Caller, authorization_id: int, state: str) -> str:
        """Return the server's address where the user allows access now.

        A shared app that the server has forgotten is replaced, because the user would be left on
        the server's error page. Raises AuthorizationInvalid, TooManyOutbound, TooManyRegistrations,
        ServerError.
        """
        authorization = await self.begun(caller, authorization_id, state)
        self.limit.count(caller)  # each time, the server is asked about the app
        known = app_of(self.credentials, authorization)
        host, scope = authorization.host, authorization.scope or ""
        instance = await self.directory.instance_at(host)
        app = await self.apps.known_app_for(instance, scope, known)
        if app != known:
            async with self.database.begin() as db:
                kept = await authorization_of_caller(db, caller, authorization_id, self.now())
                keep_app(self.credentials, kept, app, scope)
        return await self.fediverse.authorization_url(
            instance,
            app,
            redirect_uri=self.apps.redirect_uri_at(host),
            scope=scope,
            state=state,
            code_verifier=opened(self.credentials, authorization.code_verifier),
            language=_LANGUAGE,
        )

    async def begin_with_less_scope(self, caller: Caller, state: str) -> BegunAuthorization:
        """Begin again where the server refused the scope, with the scopes that come after it.

        Raises InvalidScope if none is left, AuthorizationInvalid, and what `begin` raises.
        """
        async with self.database.read() as db:
            refused = await stored.authorization_with_state(
                db, caller.user_id, hash_of(state), self.now()
            )
        if refused is None:
            raise AuthorizationInvalid
        ladder = scopes_to_try(await self.directory.instance_at(refused.host))
        later = ladder[ladder.index(refused.scope) + 1 :] if refused.scope in ladder else ()
        if not later:
            raise InvalidScope(refused.host)
        return await self.begin(
            caller,
            refused.host,
            platform_connection_id=refused.platform_connection_id,
            scopes=later,
        )

    async def _add(
        self, caller: Caller, host: str, state: str, platform_connection_id: int | None
    ) -> PlatformAuthorization:
        now = self.now()
        authorization = PlatformAuthorization(
            # SQLite gives a deleted row's id to the next one. An old page must not add another
            # account than the one it shows, nor a cached picture be shown for another account.
            id=secrets.randbelow(LARGEST_ID) + 1,
            user_id=caller.user_id,
            state_hash=hash_of(state),
            created_at=now,
            expires_at=now + AUTHORIZATION_LIFETIME,
            platform_connection_id=platform_connection_id,
            host=host,
            code_verifier=self.credentials.seal(secrets.token_urlsafe(_VERIFIER_BYTES)),
        )
        async with self.database.begin() as db:
            await active_user(db, caller, lock=True)
            if platform_connection_id is not None:
                await own_connection(db, self.audit, caller, platform_connection_id)
            since = now - AUTHORIZATION_LIFETIME
            count, first = await stored.authorizations_since(db, caller.user_id, since)
            if count >= MOST_AUTHORIZATIONS and first is not None:
                wait = (first - since).total_seconds()
                raise TooManyAuthorizations(retry_after_seconds=max(1, math.ceil(wait)))
            await stored.add_authorization(db, authorization)
        return authorization

    async def _app_for(self, instance: Instance, scopes: Sequence[str]) -> tuple[App, str]:
        """Return an app and the first scope that the server lets it have."""
        for scope in scopes[:-1]:
            try:
                return await self.apps.app_for(instance, scope), scope
            except InvalidScope:
                continue
        return await self.apps.app_for(instance, scopes[-1]), scopes[-1]
