"""Authorizations at Fediverse servers: begin one, for the browser that has this session."""

from http import HTTPStatus

from quart import Blueprint, after_this_request
from quart.typing import ResponseTypes

from quart_app.errors import InvalidInput, NotFound
from quart_app.fediverse.errors import SERVER_ERRORS
from quart_app.services.platforms.errors import (
    TooManyAuthorizations,
    TooManyOutbound,
    TooManyRegistrations,
)
from quart_app.session import timestamp
from quart_app.web.pipeline.access import for_no_account
from quart_app.web.pipeline.authorization_cookie import remember_authorization
from quart_app.web.pipeline.bodies import Body
from quart_app.web.pipeline.fields import InstanceUrl
from quart_app.web.pipeline.gate import caller, services
from quart_app.web.pipeline.json_views import Answer, json_view
from quart_app.web.rendering.json_answers import Timestamp

blueprint = Blueprint("api_authorizations", __name__, url_prefix="/api/platforms/authorizations")


class BeginBody(Body):
    """The server, in any usual spelling, such as `mastodon.social` or `@me@mastodon.social`."""

    server: InstanceUrl


class Begun(Answer):
    """The address to open, and until when it works."""

    authorize_url: str
    expires_at: Timestamp


@blueprint.post("")
@for_no_account
@json_view(
    Begun,
    status=HTTPStatus.CREATED,
    body=BeginBody,
    errors=(
        *(InvalidInput, NotFound, TooManyAuthorizations, TooManyRegistrations, TooManyOutbound),
        *SERVER_ERRORS,
    ),
)
async def begin(body: BeginBody) -> Begun:
    """Begin to connect an account. The same browser has to open `authorize_url`, and comes back.

    The answer sets a cookie; the address works until `expires_at`.
    """
    begun = await services().authorizations.begin(caller(), body.server)
    url = await services().authorizations.authorization_url(caller(), begun.id, begun.state)

    @after_this_request
    async def remember(response: ResponseTypes) -> ResponseTypes:
        remember_authorization(response, begun)
        return response

    return Begun(authorize_url=url, expires_at=timestamp(begun.expires_at))
