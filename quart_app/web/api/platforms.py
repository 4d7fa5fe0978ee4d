"""Platform connections: list, add, change, remove and switch."""

from http import HTTPStatus
from typing import Literal

from quart import Blueprint

from quart_app.errors import (
    AccountTaken,
    InUse,
    InvalidInput,
    NameTaken,
    NotFound,
    PlatformInactive,
    TooManyPlatforms,
)
from quart_app.fediverse.errors import SERVER_ERRORS
from quart_app.instances import url_of, username_of
from quart_app.model import ConnectionState, PlatformConnection, PlatformType
from quart_app.services.platforms.errors import OtherAccountAuthorized, TooManyOutbound
from quart_app.web.pipeline.access import for_no_account
from quart_app.web.pipeline.bodies import Body, NoBody
from quart_app.web.pipeline.claims import switch_platform
from quart_app.web.pipeline.current_session import fall_back_from
from quart_app.web.pipeline.fields import (
    LONGEST_LIST,
    AccessToken,
    InstanceUrl,
    ListLength,
    PlatformName,
    PlatformUsername,
    SoughtPlatform,
    StoredName,
)
from quart_app.web.pipeline.gate import ID, caller, now, services
from quart_app.web.pipeline.json_views import Answer, json_view
from quart_app.web.rendering.json_answers import (
    SessionState,
    Timestamp,
    link_to_next,
    session_state,
    timestamp_or_none,
)

blueprint = Blueprint("api_platforms", __name__, url_prefix="/api/platforms")


class ListQuery(Body):
    """The search for connections that contain `sought` and come `after` a name."""

    sought: SoughtPlatform | None = None
    after: StoredName | None = None
    limit: ListLength = LONGEST_LIST


class ConnectBody(Body):
    """A new platform connection; unless `verify` is false, its server must accept the token."""

    name: PlatformName
    platform_type: PlatformType
    instance_url: InstanceUrl
    access_token: AccessToken
    username: PlatformUsername | None = None
    verify: bool = True


class ChangeBody(Body):
    """The changes to a platform connection; absent fields stay as they are."""

    name: PlatformName | None = None
    is_active: bool | None = None


class TokenBody(Body):
    """Another access token of the connection's account."""

    access_token: AccessToken


class Connection(Answer):
    """A platform connection; the account's fields are null until its server has been asked."""

    id: int
    name: str
    platform_type: str
    instance_url: str
    username: str | None
    is_active: bool
    state: ConnectionState
    display_name: str | None
    profile_url: str | None
    software: str | None
    checked_at: Timestamp | None
    token_expires_at: Timestamp | None
    expires_soon: bool
    is_default: bool
    created_at: Timestamp | None
    last_used: Timestamp | None


class FailedCheck(Answer):
    """The reason why a check failed: an error's stable code, and its sentence."""

    code: str
    title: str


class Works(Answer):
    """The connection works for this account; `moved_to` is the one that replaces it, or null."""

    ok: Literal[True] = True
    account: str
    moved_to: str | None


class Fails(Answer):
    """The connection does not work."""

    ok: Literal[False] = False
    error: FailedCheck


@blueprint.get("")
@json_view(list[Connection], query=ListQuery)
async def list_platforms(query: ListQuery) -> tuple[list[Connection], dict[str, str]]:
    """Return the user's connections in order of name, or those that match the search."""
    platforms = await services().platforms.list_of(
        caller(),
        after=query.after or "",
        sought=query.sought or "",
        size=query.limit,
    )
    listed = [
        _connection(connection, is_default=connection.id == platforms.default_id)
        for connection in platforms.items
    ]
    return listed, link_to_next(query, after=platforms.next_cursor)


@blueprint.post("")
@for_no_account
@json_view(
    Connection,
    status=HTTPStatus.CREATED,
    body=ConnectBody,
    errors=(
        *(InvalidInput, NameTaken, AccountTaken, TooManyPlatforms, TooManyOutbound, NotFound),
        *SERVER_ERRORS,
    ),
)
async def connect(body: ConnectBody) -> Connection:
    """Add a connection, without making it the session's current one.

    Without `verify` nothing is asked of the server, and the account stays unknown until a check.
    """
    connect = services().pasted_tokens if body.verify else services().platforms
    connection, is_default = await connect.connect(
        caller(),
        name=body.name,
        platform_type=body.platform_type,
        instance_url=body.instance_url,
        access_token=body.access_token,
        username=body.username,
    )
    return _connection(connection, is_default=is_default)


@blueprint.get(f"/<{ID}:platform_connection_id>")
@json_view(Connection, errors=(NotFound,))
async def platform(platform_connection_id: int) -> Connection:
    """Return one connection."""
    connection, is_default = await services().platforms.connection(caller(), platform_connection_id)
    return _connection(connection, is_default=is_default)


@blueprint.patch(f"/<{ID}:platform_connection_id>")
@json_view(Connection, body=ChangeBody, errors=(NotFound, NameTaken, InvalidInput))
async def change(platform_connection_id: int, body: ChangeBody) -> Connection:
    """Rename a connection, or switch it on or off.

    If it was the current one and is now off, the session has the default, else the oldest one that
    is on.
    """
    connection, is_default = await services().platforms.change(
        caller(), platform_connection_id, name=body.name, is_active=body.is_active
    )
    if not connection.is_active:
        await fall_back_from(platform_connection_id)
    return _connection(connection, is_default=is_default)


@blueprint.delete(f"/<{ID}:platform_connection_id>")
@json_view(body=NoBody, errors=(NotFound, InUse))
async def remove(platform_connection_id: int) -> None:
    """Delete a connection.

    If it was the current one, the session has the default, else the oldest one that is on.
    """
    await services().removal.remove(caller(), platform_connection_id)
    await fall_back_from(platform_connection_id)


@blueprint.post(f"/<{ID}:platform_connection_id>/switch")
@json_view(SessionState, body=NoBody, errors=(NotFound, PlatformInactive))
async def switch(platform_connection_id: int) -> SessionState:
    """Make this connection the session's current one."""
    connection = await services().platforms.switch(caller(), platform_connection_id)
    switch_platform(connection.id)
    return session_state()


@blueprint.post(f"/<{ID}:platform_connection_id>/test")
@for_no_account
@json_view(Works | Fails, body=NoBody, errors=(NotFound, TooManyOutbound))
async def test(platform_connection_id: int) -> Works | Fails:
    """Check a connection at its server now; the answer says whether it works."""
    result = await services().account_checks.check(caller(), platform_connection_id)
    if result.account is None:
        problem = result.problem
        assert problem is not None  # noqa: S101 a check has one or the other
        return Fails(error=FailedCheck(code=problem.code, title=problem.sentence))
    account, moved_to = result.account, result.account.moved_to
    return Works(account=f"@{account.username}@{result.host}", moved_to=moved_to and f"@{moved_to}")


@blueprint.post(f"/<{ID}:platform_connection_id>/default")
@json_view(Connection, body=NoBody, errors=(NotFound, PlatformInactive))
async def make_default(platform_connection_id: int) -> Connection:
    """Make this connection the default, so that new sessions start with it."""
    connection = await services().platforms.make_default(caller(), platform_connection_id)
    return _connection(connection, is_default=True)


@blueprint.post(f"/<{ID}:platform_connection_id>/access_token")
@for_no_account
@json_view(
    Connection,
    body=TokenBody,
    errors=(
        *(NotFound, InvalidInput, OtherAccountAuthorized, TooManyOutbound),
        *SERVER_ERRORS,
    ),
)
async def renew(platform_connection_id: int, body: TokenBody) -> Connection:
    """Replace the access token of a connection, if its server accepts it for the same account."""
    connection, is_default = await services().pasted_tokens.renew(
        caller(), platform_connection_id, access_token=body.access_token
    )
    return _connection(connection, is_default=is_default)


def _connection(connection: PlatformConnection, *, is_default: bool) -> Connection:
    """Return the public fields of a connection, without its credentials."""
    account = connection.account
    return Connection(
        id=connection.id,
        name=connection.name,
        platform_type=connection.platform_type,
        instance_url=url_of(connection.instance_url),
        username=username_of(connection.instance_url, connection.username),
        is_active=bool(connection.is_active),
        state=connection.state,
        display_name=account.display_name if account else None,
        profile_url=account.profile_url if account else None,
        software=account.software if account else None,
        checked_at=timestamp_or_none(account.checked_at) if account else None,
        token_expires_at=timestamp_or_none(account.token_expires_at) if account else None,
        expires_soon=account.expires_soon(now()) if account else False,
        is_default=is_default,
        created_at=timestamp_or_none(connection.created_at),
        last_used=timestamp_or_none(connection.last_used),
    )
