"""The account that a token belongs to, by Mastodon's API."""

import re
from http import HTTPStatus
from typing import Final

from quart_app.fediverse.answers import https_url, identifier, json_object, short_text
from quart_app.fediverse.errors import ServerNotSupported, TokenRefused
from quart_app.fediverse.requests import Requests
from quart_app.fediverse.types import RemoteAccount
from quart_app.hosts import LONGEST_HOST, ascii_host
from quart_app.text.invisible import without_invisible

_PATH: Final = "/api/v1/accounts/verify_credentials"
# Characters, as many as the database has room for: see `quart_app.model.lengths`.
LONGEST_ID: Final = 128
LONGEST_USERNAME: Final = 200
LONGEST_DISPLAY_NAME: Final = 255
LONGEST_HANDLE: Final = LONGEST_USERNAME + 1 + LONGEST_HOST
LONGEST_PROFILE_URL: Final = 500
_USERNAME: Final = re.compile(r"[^\s@/]+")
# Takahe answers 400 to a revoked token, GoToSocial 401, Mastodon 403 for a missing scope and for
# a suspended account, Pixelfed and Friendica 422.
TOKEN_REFUSED_STATUSES: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)


async def verify_credentials(requests: Requests, server: str, access_token: str) -> RemoteAccount:
    """Return the token's account. Raises TokenRefused, or ServerNotSupported without an id."""
    response = await requests.get(server, _PATH, access_token=access_token)
    if response.status_code in TOKEN_REFUSED_STATUSES:
        raise TokenRefused(server)
    if not response.is_success:
        raise ServerNotSupported(server)
    account = json_object(server, response)
    account_id = identifier(account.get("id"), LONGEST_ID)
    username = identifier(account.get("username"), LONGEST_USERNAME)
    if account_id is None or username is None or not _is_username(username):
        raise ServerNotSupported(server)
    return RemoteAccount(
        id=account_id,
        username=username,
        display_name=_visible(short_text(account.get("display_name"), LONGEST_DISPLAY_NAME)),
        profile_url=https_url(account.get("url"), longest=LONGEST_PROFILE_URL),
        avatar_url=https_url(account.get("avatar")),
        moved_to=_handle(server, account.get("moved")),
    )


def _handle(server: str, account: object) -> str | None:
    """Return `name@host` of an account, whose `acct` has a host only at another server."""
    acct = account.get("acct") if isinstance(account, dict) else None
    name, at, host = (identifier(acct, LONGEST_HANDLE) or "").partition("@")
    try:
        host = ascii_host(host) if at else server
    except ValueError:
        return None
    return f"{name}@{host}" if _is_username(name) else None


def _visible(name: str) -> str:
    """Return the name; "" if nothing of it would be seen, so that the username is shown."""
    return name if without_invisible(name).strip() else ""


def _is_username(username: str) -> bool:
    """Return whether `@username@server` names one account, and looks like no other name."""
    return bool(_USERNAME.fullmatch(username)) and without_invisible(username) == username
