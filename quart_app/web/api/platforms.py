"""Platform connections: list, add, change, remove and switch."""

from http import HTTPStatus
from typing import Any

from quart import Blueprint
from quart.typing import ResponseReturnValue

from quart_app.instances import url_of, username_of
from quart_app.model import PlatformConnection, PlatformType
from quart_app.web.pipeline.access import for_no_account
from quart_app.web.pipeline.bodies import Body, NoBody, read_json, read_query
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
from quart_app.web.rendering.json_answers import (
    link_to_next,
    no_content,
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


@blueprint.get("")
async def list_platforms() -> ResponseReturnValue:
    """Return the user's connections in order of name, or those that match the search."""
    query = read_query(ListQuery)
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
async def connect() -> ResponseReturnValue:
    """Add a connection, without making it the session's current one.

    Without `verify` nothing is asked of the server, and the account stays unknown until a check.
    """
    body = await read_json(ConnectBody)
    connect = services().pasted_tokens if body.verify else services().platforms
    connection, is_default = await connect.connect(
        caller(),
        name=body.name,
        platform_type=body.platform_type,
        instance_url=body.instance_url,
        access_token=body.access_token,
        username=body.username,
    )
    return _connection(connection, is_default=is_default), HTTPStatus.CREATED


@blueprint.get(f"/<{ID}:connection_id>")
async def platform(connection_id: int) -> ResponseReturnValue:
    """Return one connection."""
    connection, is_default = await services().platforms.connection(caller(), connection_id)
    return _connection(connection, is_default=is_default)


@blueprint.patch(f"/<{ID}:connection_id>")
async def change(connection_id: int) -> ResponseReturnValue:
    """Rename a connection, or switch it on or off.

    If it was the current one and is now off, the session has the default, else the oldest one that
    is on.
    """
    body = await read_json(ChangeBody)
    connection, is_default = await services().platforms.change(
        caller(), connection_id, name=body.name, is_active=body.is_active
    )
    if not connection.is_active:
        await fall_back_from(connection_id)
    return _connection(connection, is_default=is_default)


@blueprint.delete(f"/<{ID}:connection_id>")
async def remove(connection_id: int) -> ResponseReturnValue:
    """Delete a connection.

    If it was the current one, the session has the default, else the oldest one that is on.
    """
    await read_json(NoBody)
    await services().removal.remove(caller(), connection_id)
    await fall_back_from(connection_id)
    return no_content()


@blueprint.post(f"/<{ID}:connection_id>/switch")
async def switch(connection_id: int) -> ResponseReturnValue:
    """Make this connection the session's current one."""
    await read_json(NoBody)
    connection = await services().platforms.switch(caller(), connection_id)
    switch_platform(connection.id)
    return session_state()


@blueprint.post(f"/<{ID}:connection_id>/test")
@for_no_account
async def test(connection_id: int) -> ResponseReturnValue:
    """Check a connection at its server now; the answer says whether it works."""
    await read_json(NoBody)
    result = await services().account_checks.check(caller(), connection_id)
    if result.account is None:
        problem = result.problem
        assert problem is not None  # noqa: S101 a check has one or the other
        return {"ok": False, "error": {"code": problem.code, "title": problem.sentence}}
    return {"ok": True, "account": f"@{result.account.username}@{result.host}"}


@blueprint.post(f"/<{ID}:connection_id>/default")
async def make_default(connection_id: int) -> ResponseReturnValue:
    """Make this connection the default, so that new sessions start with it."""
    await read_json(NoBody)
    connection = await services().platforms.make_default(caller(), connection_id)
    return _connection(connection, is_default=True)


def _connection(connection: PlatformConnection, *, is_default: bool) -> dict[str, Any]:
    """Return the public fields of a connection, without its credentials.

    The account's fields are None until its server has been asked.
    """
    account = connection.account
    return {
        "id": connection.id,
        "name": connection.name,
        "platform_type": connection.platform_type,
        "instance_url": url_of(connection.instance_url),
        "username": username_of(connection.instance_url, connection.username),
        "is_active": bool(connection.is_active),
        "state": connection.state.value,
        "display_name": account.display_name if account else None,
        "profile_url": account.profile_url if account else None,
        "software": account.software if account else None,
        "checked_at": timestamp_or_none(account.checked_at) if account else None,
        "token_expires_at": timestamp_or_none(account.token_expires_at) if account else None,
        "expires_soon": account.expires_soon(now()) if account else False,
        "is_default": is_default,
        "created_at": timestamp_or_none(connection.created_at),
        "last_used": timestamp_or_none(connection.last_used),
    }
