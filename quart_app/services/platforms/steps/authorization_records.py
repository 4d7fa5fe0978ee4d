"""Rows of authorizations: found for their user, and their secrets sealed and opened."""

import hashlib
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from quart_app.fediverse.types import App
from quart_app.model import PlatformAuthorization
from quart_app.services.caller import Caller
from quart_app.services.platforms.credentials import Credentials
from quart_app.services.platforms.errors import AuthorizationInvalid
from quart_app.storage import authorizations as stored


async def authorization_of_caller(
    db: AsyncSession, caller: Caller, authorization_id: int, now: datetime
) -> PlatformAuthorization:
    """Return the caller's authorization. Raises AuthorizationInvalid if it expired."""
    authorization = await stored.authorization_of(db, caller.user_id, authorization_id, now)
    if authorization is None:
        raise AuthorizationInvalid
    return authorization


def keep_app(
    credentials: Credentials, authorization: PlatformAuthorization, app: App, scope: str
) -> None:
    """Set the app that is authorized, and the scope it is authorized with."""
    authorization.scope = scope
    authorization.client_id = app.client_id
    authorization.client_secret = credentials.seal(app.client_secret)


def app_of(credentials: Credentials, authorization: PlatformAuthorization) -> App:
    """Return the app that is authorized. Raises AuthorizationInvalid."""
    return App(authorization.client_id or "", opened(credentials, authorization.client_secret))


def opened(credentials: Credentials, token: str | None) -> str:
    """Return a secret of an authorization.

    Raises AuthorizationInvalid if it was sealed with a key that was removed meanwhile.
    """
    secret = credentials.unseal(token or "")
    if secret is None:
        raise AuthorizationInvalid
    return secret


def hash_of(state: str) -> str:
    """Return what the database keeps of a state: nobody can find the state from it."""
    return hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()
