"""OAuth with a server: Authlib knows the grammar, and this module what servers make of it."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client

from quart_app.fediverse.accounts import TOKEN_REFUSED_STATUSES
from quart_app.fediverse.answers import identifier, json_object, raise_for_failure, short_text
from quart_app.fediverse.errors import (
    AppRefused,
    CodeRefused,
    InvalidScope,
    ServerError,
    ServerNotSupported,
    TokenRefused,
)
from quart_app.fediverse.guarded_transport import GuardedTransport
from quart_app.fediverse.requests import HEADERS, Requests
from quart_app.fediverse.server_names import is_at
from quart_app.fediverse.types import App, Grant, Instance

_APPS_PATH: Final = "/api/v1/apps"
_LONGEST_TOKEN: Final = 4096
_LONGEST_SCOPES: Final = 1000
_LONGEST_VALIDITY_SECONDS: Final = 10 * 365 * 24 * 3600
_APP_ERRORS: Final = {"invalid_client", "unauthorized_client"}  # RFC 6749 section 5.2
# RFC 6749 section 5.2, and Takahe's own.
_UNSUPPORTED: Final = {"unsupported_grant_type", "invalid_grant_type"}


class _GrantUnsupported(AppRefused):
    """The server does not issue tokens for this kind of grant, to any app."""


class OAuth:
    """The OAuth requests, each by a client of its own that shares nothing but the transport."""

    def __init__(self, transport: GuardedTransport) -> None:
        self._transport = transport
        self._requests = Requests(transport)

    async def register_app(
        self, instance: Instance, *, name: str, website: str, redirect_uri: str, scope: str
    ) -> App:
        """Register by Mastodon's API. Raises InvalidScope for any refusal of the form.

        Servers don't say which field they refuse, and only the scope is ever new to them.
        """
        response = await self._requests.post(
            instance.host,
            _APPS_PATH,
            {
                "client_name": name,
                "redirect_uris": redirect_uri,
                "scopes": scope,
                "website": website,
            },
        )
        if response.status_code in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
            raise InvalidScope(instance.host)
        if not response.is_success:
            raise ServerNotSupported(
                instance.host,
                "{host} doesn't let other applications connect. Paste an access token instead.",
            )
        registered = json_object(instance.host, response)
        client_id = identifier(registered.get("client_id"), _LONGEST_TOKEN)
        client_secret = identifier(registered.get("client_secret"), _LONGEST_TOKEN)
        if client_id is None or client_secret is None:
            raise ServerNotSupported(instance.host)
        return App(client_id, client_secret)

    async def knows_app(self, instance: Instance, app: App, scope: str | None) -> bool:
        """Return whether a token for the app itself is granted, or refused for another reason."""
        try:
            await self._tokens(
                instance, app, AppRefused, grant_type="client_credentials", scope=scope
            )
        except _GrantUnsupported:  # as at Takahe's, where nobody can ask
            return True
        except AppRefused:
            return False
        except InvalidScope:  # the app itself was recognized first
            return True
        return True

    def authorization_url(
        self,
        instance: Instance,
        app: App,
        *,
        redirect_uri: str,
        scope: str,
        state: str,
        code_verifier: str,
        language: str | None,
    ) -> str:
        """Return the address that the user opens, with an S256 challenge (RFC 7636)."""
        url, _ = self._client(app).create_authorization_url(
            instance.authorization_endpoint,
            redirect_uri=redirect_uri,
            scope=scope,
            state=state,
            code_verifier=code_verifier,
            force_login="true",
            lang=language,
        )
        return str(url)

    async def exchange_code(
        self, instance: Instance, app: App, *, code: str, redirect_uri: str, code_verifier: str
    ) -> Grant:
        """Return the grant for a code. Raises CodeRefused."""
        return await self._tokens(
            instance,
            app,
            CodeRefused,
            grant_type="authorization_code",
            code=code,
            redirect_uri=redirect_uri,
            code_verifier=code_verifier,
        )

    async def refresh(self, instance: Instance, app: App, refresh_token: str) -> Grant:
        """Return the grant for a refresh token. Raises TokenRefused."""
        return await self._tokens(
            instance,
            app,
            TokenRefused,
            grant_type="refresh_token",
            refresh_token=refresh_token,
        )

    async def revoke(self, instance: Instance, app: App, token: str) -> bool:
        """Return whether the server accepted the revocation (RFC 7009)."""
        _check_endpoint(instance, instance.revocation_endpoint)
        response = await self._client(app).revoke_token(instance.revocation_endpoint, token=token)
        raise_for_failure(instance.host, response)
        return bool(response.is_success)

    async def _tokens(
        self, instance: Instance, app: App, refused: type[ServerError], **fields: str | None
    ) -> Grant:
        """Ask the token endpoint. `refused` is raised where the grant itself is refused."""
        _check_endpoint(instance, instance.token_endpoint)
        client = self._client(app)
        client.register_compliance_hook(
            "access_token_response", lambda response: _cleaned(instance.host, response)
        )
        fetch: Callable[..., Awaitable[dict[str, Any]]] = client.fetch_token
        try:
            token = await fetch(instance.token_endpoint, **fields)
        except OAuthError as error:
            if error.error == "invalid_scope":
                raise InvalidScope(instance.host) from None
            if error.error in _UNSUPPORTED:
                raise _GrantUnsupported(instance.host) from None
            if error.error in _APP_ERRORS:
                raise AppRefused(instance.host) from None
            raise refused(instance.host) from None
        return Grant(
            access_token=token["access_token"],
            refresh_token=token.get("refresh_token"),
            scopes=token.get("scope"),
            expires_in=timedelta(seconds=token["expires_in"]) if "expires_in" in token else None,
        )

    def _client(self, app: App) -> AsyncOAuth2Client:
        """Return a client for one request. It keeps cookies and tokens, so it is not kept."""
        return AsyncOAuth2Client(
            app.client_id,
            app.client_secret,
            token_endpoint_auth_method="client_secret_post",  # noqa: S106 the method's name
            revocation_endpoint_auth_method="client_secret_post",
            code_challenge_method="S256",
            transport=self._transport,
            trust_env=False,
            follow_redirects=False,
            headers=HEADERS,
        )


def _check_endpoint(instance: Instance, endpoint: str) -> None:
    """Refuse an endpoint elsewhere, whose server would learn the app's secret."""
    if not is_at(instance.host, endpoint):
        raise ServerNotSupported(instance.host)


def _cleaned(server: str, response: httpx2.Response) -> httpx2.Response:
    """Return a token endpoint's answer with only what Authlib can read without surprise.

    An `expires_in` that is no number would crash it, and `{"error": …}` may come with any type.
    """
    raise_for_failure(server, response)
    if response.is_success:
        return httpx2.Response(HTTPStatus.OK, json=_token_fields(server, response))
    if response.status_code not in TOKEN_REFUSED_STATUSES:
        raise ServerNotSupported(server)
    try:
        error = json_object(server, response).get("error")
    except ServerNotSupported:  # Takahe refuses in plain text
        error = None
    if not isinstance(error, str):
        is_about_app = response.status_code == HTTPStatus.UNAUTHORIZED
        error = "invalid_client" if is_about_app else "invalid_grant"
    return httpx2.Response(HTTPStatus.BAD_REQUEST, json={"error": error})


def _token_fields(server: str, response: httpx2.Response) -> dict[str, str | int]:
    given = json_object(server, response)
    access_token = identifier(given.get("access_token"), _LONGEST_TOKEN)
    if access_token is None:
        raise ServerNotSupported(server)
    fields: dict[str, str | int | None] = {
        "access_token": access_token,
        "refresh_token": identifier(given.get("refresh_token"), _LONGEST_TOKEN),
        "scope": short_text(given.get("scope"), _LONGEST_SCOPES) or None,
        "expires_in": _seconds(given.get("expires_in")),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _seconds(expires_in: object) -> int | None:
    """Return a validity in whole seconds; None if it is missing, senseless or practically endless.

    A token that expires at once would be refreshed for ever.
    """
    if isinstance(expires_in, str) and expires_in.isascii() and expires_in.isdigit():
        expires_in = int(expires_in[:20])
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float):
        return None
    return int(expires_in) if 1 <= expires_in <= _LONGEST_VALIDITY_SECONDS else None
