"""The stand-in as an ASGI application."""

import asyncio

from quart import Quart, Response, request

from standins import authorization, instance, tokens
from standins.answers import html, stand_in
from standins.records import StandIn


def create_stand_in(records: StandIn) -> Quart:
    """Return the application that answers from these records, which tests may change."""
    app = Quart("standins", static_folder=None)
    app.extensions["stand_in"] = records
    app.before_request(_count_and_misbehave)
    for status in (404, 405):
        app.register_error_handler(status, _not_found)
    for blueprint in (instance.routes, authorization.routes, tokens.routes):
        app.register_blueprint(blueprint)
    return app


async def _count_and_misbehave() -> Response | None:
    """Count the request, and answer as a test says, if it does."""
    records = stand_in()
    records.requests[f"{request.method} {request.path}"] += 1
    await asyncio.sleep(records.delays_seconds.get(request.path, 0))
    if (answer := records.answers.get(request.path)) is None:
        return None
    await request.get_data()  # else the server closes the connection without announcing it
    return Response(
        answer.body,
        status=answer.status,
        content_type=answer.content_type,
        headers=dict(answer.headers),
    )


async def _not_found(_: Exception) -> Response:
    return html("<h1>Not found</h1>", 404)
