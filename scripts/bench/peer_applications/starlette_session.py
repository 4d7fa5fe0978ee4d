"""Starlette with its SessionMiddleware."""

import secrets

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def log_in(request: Request) -> Response:
    """Begin the session of the one user."""
    request.session["user_id"] = 1
    return Response(status_code=204)


async def log_out(request: Request) -> Response:
    """End the session."""
    request.session.clear()
    return Response(status_code=204)


async def me(request: Request) -> Response:
    """Return the user's id."""
    if "user_id" not in request.session:
        raise HTTPException(401)
    return JSONResponse({"user_id": request.session["user_id"]})


app = Starlette(
    routes=[
        Route("/login", log_in, methods=["POST"]),
        Route("/logout", log_out, methods=["POST"]),
        Route("/me", me),
    ],
    middleware=[Middleware(SessionMiddleware, secret_key=secrets.token_hex(32))],
)
