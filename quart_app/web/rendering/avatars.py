"""Pictures of accounts: from our own address, so that no other server learns who looks at them."""

from http import HTTPStatus

from quart import Response

from quart_app.errors import NotFound
from quart_app.fediverse.types import Avatar

_CACHE_CONTROL = "private, max-age=86400, immutable"  # a new picture has a new address


def avatar_response(avatar: Avatar | None) -> Response:
    """Return a picture. Raises NotFound if there is none.

    The headers of every answer forbid a browser to run anything in it, or to take it for anything
    else.
    """
    if avatar is None:
        raise NotFound
    response = Response(avatar.body, HTTPStatus.OK, content_type=avatar.content_type)
    response.headers["Cache-Control"] = _CACHE_CONTROL
    return response
