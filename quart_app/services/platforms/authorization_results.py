"""Receive a user who comes back from a server: with a code, which is exchanged for tokens."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from quart_app.errors import AppError
from quart_app.fediverse.errors import InvalidScope
from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.types import Avatar, Grant, RemoteAccount
from quart_app.model import PlatformAuthorization
from quart_app.services.background.shielding import shielded
from quart_app.services.caller import Caller
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.errors import AuthorizationDenied, AuthorizationInvalid
from quart_app.services.platforms.steps.authorization_records import (
    app_of,
    authorization_of_caller,
    hash_of,
    opened,
)
from quart_app.services.platforms.steps.instance_directory import InstanceDirectory
from quart_app.storage import authorizations as stored
from quart_app.storage.database import Database
from quart_app.storage.encoding import refuse_unstorable

_POLL_SECONDS: Final = 0.3
# The first request asks the server four things, each for 10 seconds at most.
_UNDER_WAY_FOR: Final = timedelta(seconds=45)
_POLLS: Final = int(_UNDER_WAY_FOR.total_seconds() / _POLL_SECONDS)


@dataclass(frozen=True, kw_only=True)
class AuthorizationResults:
    """The way back from a server."""

    database: Database
    fediverse: Fediverse
    directory: InstanceDirectory
    credentials: Credentials
    redirect_uri_at: Callable[[str], str]
    now: Callable[[], datetime]

    async def receive(
        self, caller: Caller, state: str, *, server: str, code: str | None, error: str | None
    ) -> int:
        """Exchange the code for tokens, look at the account, and return the authorization's id.

        `code` and `error` are as RFC 6749 has them, sections 4.1.2 and 4.1.2.1. The server to ask
        is that of the state; `server`, in the address of the way back, must be the same. A second
        request with the same state gets the result of the first. Raises AuthorizationInvalid,
        AuthorizationDenied, InvalidScope, ServerError.
        """
        authorization_id, is_first = await self._receive_first(
            caller, state, server=server, code=code, error=error
        )
        if not is_first:
            await self._wait_for_first(caller, authorization_id)
        return authorization_id

    @shielded  # a code can be exchanged once, so a browser that goes away must not stop it
    async def _receive_first(
        self, caller: Caller, state: str, *, server: str, code: str | None, error: str | None
    ) -> tuple[int, bool]:
        """Return the authorization's id, and whether this request has exchanged the code."""
        authorization, is_first = await self._use_state(caller, state, server)
        if not is_first:
            return authorization.id, False
        try:
            if error is not None or not code:
                raise _refusal(authorization.host, error)
            await self._exchange(caller, authorization, code)
        except AppError:
            async with self.database.begin() as db:
                kept = await authorization_of_caller(db, caller, authorization.id, self.now())
                kept.failed_at = self.now()
            raise
        return authorization.id, True

    async def _exchange(
        self, caller: Caller, authorization: PlatformAuthorization, code: str
    ) -> None:
        """Exchange the code, look at the account, and keep both.

        Raises ServerError, and InvalidInput if the database can't store the account's name.
        """
        grant = await self.fediverse.exchange_code(
            await self.directory.instance_at(authorization.host),
            app_of(self.credentials, authorization),
            code=code,
            redirect_uri=self.redirect_uri_at(authorization.host),
            code_verifier=opened(self.credentials, authorization.code_verifier),
        )
        account = await self.fediverse.verify_credentials(authorization.host, grant.access_token)
        avatar = await self.fediverse.avatar(account.avatar_url) if account.avatar_url else None
        async with self.database.begin() as db:
            kept = await authorization_of_caller(db, caller, authorization.id, self.now())
            await refuse_unstorable(db, username=account.username, account_id=account.id)
            self._keep_result(kept, grant, account, avatar)

    async def _use_state(
        self, caller: Caller, state: str, server: str
    ) -> tuple[PlatformAuthorization, bool]:
        """Return the authorization, and whether the browser comes back for the first time."""
        async with self.database.begin() as db:
            authorization = await stored.authorization_with_state(
                db, caller.user_id, hash_of(state), self.now()
            )
            if authorization is None or authorization.scope is None:
                raise AuthorizationInvalid
            if authorization.host != server:  # see `Apps.redirect_uri_at`
                raise AuthorizationInvalid
            return authorization, await stored.use_state(db, authorization.id, self.now())

    async def _wait_for_first(self, caller: Caller, authorization_id: int) -> None:
        """Wait for the request that came first. Raises AuthorizationInvalid if it failed.

        Also if its process died, which shows only in the time that has passed.
        """
        for _ in range(_POLLS):
            async with self.database.read() as db:
                first = await authorization_of_caller(db, caller, authorization_id, self.now())
            if first.access_token is not None:
                return
            if first.failed_at is not None or self._has_died(first):
                break
            await asyncio.sleep(_POLL_SECONDS)
        raise AuthorizationInvalid

    def _has_died(self, first: PlatformAuthorization) -> bool:
        since = first.returned_at or first.created_at
        return self.now() - since > _UNDER_WAY_FOR

    def _keep_result(
        self,
        authorization: PlatformAuthorization,
        grant: Grant,
        account: RemoteAccount,
        avatar: Avatar | None,
    ) -> None:
        seal = self.credentials.seal
        authorization.access_token = seal(grant.access_token)
        authorization.refresh_token = grant.refresh_token and seal(grant.refresh_token)
        authorization.granted_scopes = grant.scopes
        authorization.token_expires_at = (
            None if grant.expires_in is None else self.now() + grant.expires_in
        )
        authorization.account_id = account.id
        authorization.username = account.username
        authorization.display_name = account.display_name
        authorization.profile_url = account.profile_url
        if avatar is not None:
            authorization.avatar_type, authorization.avatar = avatar.content_type, avatar.body


def _refusal(host: str, error: str | None) -> AppError:
    if error == "invalid_scope":
        return InvalidScope(host)
    if error == "access_denied":
        return AuthorizationDenied(
            f"You did not allow access on {host}, so no account was connected."
        )
    return AuthorizationDenied(f"{host} did not authorize access, so no account was connected.")
