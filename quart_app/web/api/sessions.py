"""The user's sessions on all devices: list them, end one, end the others."""

from typing import Final

from quart import Blueprint

from quart_app.errors import BadCredentials, Busy, NotFound, PasswordNeeded, TooManyAttempts
from quart_app.session import clear_session
from quart_app.web.pipeline.bodies import Body
from quart_app.web.pipeline.fields import LONGEST_LIST, BigId, ListLength
from quart_app.web.pipeline.gate import ID, caller, services
from quart_app.web.pipeline.json_views import Answer, json_view
from quart_app.web.rendering.confirmation import ConfirmBody
from quart_app.web.rendering.json_answers import Timestamp, link_to_next, timestamp_or_none
from quart_app.web.rendering.leaving import CLEARED_CACHE
from quart_app.web.rendering.user_agents import described

blueprint = Blueprint("api_sessions", __name__, url_prefix="/api/sessions")
_REFUSALS: Final = (PasswordNeeded, BadCredentials, TooManyAttempts, Busy)


class ListedLogin(Answer):
    """A live login of the user; `device` is in words."""

    id: int
    created_at: Timestamp | None
    expires_at: Timestamp | None
    address: str | None
    device: str
    is_current: bool


class ListQuery(Body):
    """The wanted part of the list: at most `limit` logins with an id below `before`."""

    before: BigId | None = None
    limit: ListLength = LONGEST_LIST


@blueprint.get("")
@json_view(list[ListedLogin], query=ListQuery)
async def list_sessions(query: ListQuery) -> tuple[list[ListedLogin], dict[str, str]]:
    """Return the user's live logins, newest first."""
    logins = await services().devices.page_of_logins_of(
        caller(), before=query.before, size=query.limit
    )
    words = await described(login.user_agent for login in logins.items)
    listed = [
        ListedLogin(
            id=login.id,
            created_at=timestamp_or_none(login.created_at),
            expires_at=timestamp_or_none(login.expires_at),
            address=login.address,
            device=words[login.user_agent],
            is_current=login.sid == caller().sid,
        )
        for login in logins.items
    ]
    return listed, link_to_next(query, before=logins.next_cursor)


@blueprint.delete(f"/<{ID}:login_id>")
@json_view(body=ConfirmBody, errors=(NotFound, *_REFUSALS))
async def end_session(login_id: int, body: ConfirmBody) -> tuple[None, dict[str, str]]:
    """End one of the user's logins."""
    ended = await services().devices.end(caller(), login_id, current_password=body.current_password)
    if ended.sid != caller().sid:
        return None, {}
    clear_session()
    return None, CLEARED_CACHE


@blueprint.delete("")
@json_view(body=ConfirmBody, errors=_REFUSALS)
async def end_other_sessions(body: ConfirmBody) -> None:
    """End every login of the user but this one."""
    await services().devices.end_others(caller(), current_password=body.current_password)
