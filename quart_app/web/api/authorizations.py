"""Authorizations at Fediverse servers: begin one, for the browser that has this session."""

from http import HTTPStatus

from quart import Blueprint, jsonify
from quart.typing import ResponseReturnValue

from quart_app.session import timestamp
from quart_app.web.pipeline.access import for_no_account
from quart_app.web.pipeline.authorization_cookie import remember_authorization
from quart_app.web.pipeline.bodies import Body, read_json
from quart_app.web.pipeline.fields import InstanceUrl
from quart_app.web.pipeline.gate import caller, services

blueprint = Blueprint("api_authorizations", __name__, url_prefix="/api/platforms/authorizations")


class BeginBody(Body):
    """The server, in any usual spelling, such as `mastodon.social` or `@me@mastodon.social`."""

    server: InstanceUrl


@blueprint.post("")
@for_no_account
async def begin() -> ResponseReturnValue:
    """Begin to connect an account. The same browser has to open `authorize_url`, and comes back.

    The answer sets a cookie; the address works until `expires_at`.
    """
    body = await read_json(BeginBody)
    begun = await services().authorizations.begin(caller(), body.server)
    url = await services().authorizations.authorization_url(caller(), begun.id, begun.state)
    response = jsonify({"authorize_url": url, "expires_at": timestamp(begun.expires_at)})
    response.status_code = HTTPStatus.CREATED
    remember_authorization(response, begun)
    return response
