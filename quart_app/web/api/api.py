"""The JSON API: the same use cases as the pages, with the same session cookie."""

from datetime import datetime
from http import HTTPStatus
from typing import Any

from quart import Blueprint, Response, request, url_for
from quart.typing import ResponseReturnValue

from quart_app.errors import InvalidInput
from quart_app.instances import url_of, username_of
from quart_app.model import PlatformConnection
from quart_app.session import clear_session, not_activity, timestamp
from quart_app.web.pipeline.access import for_no_account, public, renews_at_once
from quart_app.web.pipeline.bodies import (
    Body,
    ChangeBody,
    ConfirmBody,
    ConnectBody,
    LoginBody,
    LoginListQuery,
    NoBody,
    PasswordBody,
    PlatformListQuery,
    read_json,
    read_query,
)
from quart_app.web.pipeline.claims import current_connection_id, switch_platform
from quart_app.web.pipeline.current_session import (
    begin,
    change_password_by,
    end,
    end_all,
    forget_if_current,
)
from quart_app.web.pipeline.gate import (
    ID,
    caller,
    now,
    presented,
    required_claims,
    services,
)
from quart_app.web.rendering.leaving import with_cleared_cache
from quart_app.web.rendering.user_agents import described

blueprint = Blueprint("api", __name__, url_prefix="/api")


@blueprint.post("/login")
@public
async def log_in() -> ResponseReturnValue:
    """Log in."""
    body = await read_json(LoginBody)
    begin(
        await services().accounts.log_in(
            caller(),
            login_name=body.username,
            password=body.password,
            remember=body.remember,
            new_password=body.new_password,
            replaced=presented(),
        )
    )
    return _session_state()


@blueprint.post("/logout")
@public  # ends the sessions of all cookies, even past their idle limit
async def log_out() -> ResponseReturnValue:
    """End this session."""
    await read_json(NoBody)
    await end()
    return with_cleared_cache(Response(b"", HTTPStatus.NO_CONTENT))


@blueprint.post("/logout_all")
async def log_out_everywhere() -> ResponseReturnValue:
    """End every session of the user."""
    await read_json(NoBody)
    await end_all()
    return with_cleared_cache(Response(b"", HTTPStatus.NO_CONTENT))


@blueprint.get("/session_state")
@not_activity
async def session_state() -> ResponseReturnValue:
    """Return the session's user and expiry times, from the cookie alone."""
    return _session_state()


@blueprint.post("/session/renew")
@renews_at_once
async def renew() -> ResponseReturnValue:
    """Record activity, and do nothing else."""
    await read_json(NoBody)
    return _session_state()


def _session_state() -> dict[str, Any]:
    claims = required_claims()
    return {
        "user_id": claims.user_id,
        "platform_connection_id": current_connection_id(claims),
        "created_at": timestamp(claims.created_at),
        "last_activity": timestamp(claims.last_activity),
        "expires_at": timestamp(claims.expires_at),
        "idle_expires_at": timestamp(claims.idle_expires_at),
        "now": timestamp(now()),
    }


@blueprint.post("/account/password")
async def change_password() -> ResponseReturnValue:
    """Change the password, and replace this session with a new one."""
    await change_password_by(await read_json(PasswordBody))
    return Response(b"", HTTPStatus.NO_CONTENT)


@blueprint.get("/platforms")
async def list_platforms() -> ResponseReturnValue:
    """Return the user's connections in order of name, or those that match the search."""
    query = read_query(PlatformListQuery)
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
    return listed, _link_to_next(query, after=platforms.next_cursor)


@blueprint.post("/platforms")
@for_no_account
async def connect() -> ResponseReturnValue:
    """Add a connection, without making it the session's current one."""
    body = await read_json(ConnectBody)
    if body.verify:
        raise InvalidInput(
            'Access tokens can\'t be verified yet. Send "verify": false.',
            field="verify",
        )
    connection, is_default = await services().platforms.connect(
        caller(),
        name=body.name,
        platform_type=body.platform_type,
        instance_url=body.instance_url,
        access_token=body.access_token,
        username=body.username,
    )
    return _connection(connection, is_default=is_default), HTTPStatus.CREATED


@blueprint.get(f"/platforms/<{ID}:connection_id>")
async def platform(connection_id: int) -> ResponseReturnValue:
    """Return one connection."""
    connection, is_default = await services().platforms.connection(caller(), connection_id)
    return _connection(connection, is_default=is_default)


@blueprint.patch(f"/platforms/<{ID}:connection_id>")
async def change(connection_id: int) -> ResponseReturnValue:
    """Rename a connection, or switch it on or off.

    If it was the current one and is now off, the session has no current connection.
    """
    body = await read_json(ChangeBody)
    connection, is_default = await services().platforms.change(
        caller(), connection_id, name=body.name, is_active=body.is_active
    )
    if not connection.is_active:
        forget_if_current(connection_id)
    return _connection(connection, is_default=is_default)


@blueprint.delete(f"/platforms/<{ID}:connection_id>")
async def remove(connection_id: int) -> ResponseReturnValue:
    """Delete a connection. If it was the current one, the session then has none."""
    await read_json(NoBody)
    await services().platforms.remove(caller(), connection_id)
    forget_if_current(connection_id)
    return Response(b"", HTTPStatus.NO_CONTENT)


@blueprint.post(f"/platforms/<{ID}:connection_id>/switch")
async def switch(connection_id: int) -> ResponseReturnValue:
    """Make this connection the session's current one."""
    await read_json(NoBody)
    connection = await services().platforms.switch(caller(), connection_id)
    switch_platform(connection.id)
    return _session_state()


@blueprint.post(f"/platforms/<{ID}:connection_id>/default")
async def make_default(connection_id: int) -> ResponseReturnValue:
    """Make this connection the default, so that new sessions start with it."""
    await read_json(NoBody)
    connection = await services().platforms.make_default(caller(), connection_id)
    return _connection(connection, is_default=True)


@blueprint.get("/sessions")
async def list_sessions() -> ResponseReturnValue:
    """Return the user's live logins, newest first."""
    query = read_query(LoginListQuery)
    logins = await services().devices.page_of_logins_of(
        caller(), before=query.before, size=query.limit
    )
    words = await described(login.user_agent for login in logins.items)
    listed = [
        {
            "id": login.id,
            "created_at": _timestamp(login.created_at),
            "expires_at": _timestamp(login.expires_at),
            "address": login.address,
            "device": words[login.user_agent],
            "is_current": login.sid == caller().sid,
        }
        for login in logins.items
    ]
    return listed, _link_to_next(query, before=logins.next_cursor)


def _timestamp(time: datetime | None) -> str | None:
    """Return the time in the API's format; None if the stored time cannot be read."""
    return None if time is None else timestamp(time)


def _link_to_next(query: Body, **cursor: str | int | None) -> dict[str, str]:
    """Return the Link header to the next part of a list (RFC 8288); empty for the last part."""
    if None in cursor.values():
        return {}
    asked = query.model_dump(exclude_unset=True, exclude_none=True)
    address = url_for(request.endpoint or "", **(asked | cursor))
    return {"Link": f'<{address}>; rel="next"'}


@blueprint.delete(f"/sessions/<{ID}:login_id>")
async def end_session(login_id: int) -> ResponseReturnValue:
    """End one of the user's logins."""
    ended = await services().devices.end(
        caller(), login_id, current_password=(await read_json(ConfirmBody)).current_password
    )
    response = Response(b"", HTTPStatus.NO_CONTENT)
    if ended.sid != caller().sid:
        return response
    clear_session()
    return with_cleared_cache(response)


@blueprint.delete("/sessions")
async def end_other_sessions() -> ResponseReturnValue:
    """End every login of the user but this one."""
    await services().devices.end_others(
        caller(), current_password=(await read_json(ConfirmBody)).current_password
    )
    return Response(b"", HTTPStatus.NO_CONTENT)


def _connection(connection: PlatformConnection, *, is_default: bool) -> dict[str, Any]:
    """Return the public fields of a connection, without its credentials."""
    return {
        "id": connection.id,
        "name": connection.name,
        "platform_type": connection.platform_type,
        "instance_url": url_of(connection.instance_url),
        "username": username_of(connection.instance_url, connection.username),
        "is_active": bool(connection.is_active),
        "is_default": is_default,
        "created_at": _timestamp(connection.created_at),
        "last_used": _timestamp(connection.last_used),
    }
