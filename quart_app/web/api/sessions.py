"""The user's sessions on all devices: list them, end one, end the others."""

from quart import Blueprint
from quart.typing import ResponseReturnValue

from quart_app.session import clear_session
from quart_app.web.pipeline.bodies import Body, read_json, read_query
from quart_app.web.pipeline.fields import LONGEST_LIST, BigId, ListLength
from quart_app.web.pipeline.gate import ID, caller, services
from quart_app.web.rendering.confirmation import ConfirmBody
from quart_app.web.rendering.json_answers import link_to_next, no_content, timestamp_or_none
from quart_app.web.rendering.leaving import with_cleared_cache
from quart_app.web.rendering.user_agents import described

blueprint = Blueprint("api_sessions", __name__, url_prefix="/api/sessions")


class ListQuery(Body):
    """The wanted part of the list: at most `limit` logins with an id below `before`."""

    before: BigId | None = None
    limit: ListLength = LONGEST_LIST


@blueprint.get("")
async def list_sessions() -> ResponseReturnValue:
    """Return the user's live logins, newest first."""
    query = read_query(ListQuery)
    logins = await services().devices.page_of_logins_of(
        caller(), before=query.before, size=query.limit
    )
    words = await described(login.user_agent for login in logins.items)
    listed = [
        {
            "id": login.id,
            "created_at": timestamp_or_none(login.created_at),
            "expires_at": timestamp_or_none(login.expires_at),
            "address": login.address,
            "device": words[login.user_agent],
            "is_current": login.sid == caller().sid,
        }
        for login in logins.items
    ]
    return listed, link_to_next(query, before=logins.next_cursor)


@blueprint.delete(f"/<{ID}:login_id>")
async def end_session(login_id: int) -> ResponseReturnValue:
    """End one of the user's logins."""
    ended = await services().devices.end(
        caller(), login_id, current_password=(await read_json(ConfirmBody)).current_password
    )
    response = no_content()
    if ended.sid != caller().sid:
        return response
    clear_session()
    return with_cleared_cache(response)


@blueprint.delete("")
async def end_other_sessions() -> ResponseReturnValue:
    """End every login of the user but this one."""
    await services().devices.end_others(
        caller(), current_password=(await read_json(ConfirmBody)).current_password
    )
    return no_content()
