"""The stock Quart applications that `scripts/bench/start_up.py` compares with ours."""

import importlib
from typing import Final

from quart import Quart, session

# The dependencies of quart_app that a request may need, imported at the start, as applications do.
# Alembic, rich and python-dotenv's commands are missing: only commands and migrations need them.
DEPENDENCIES: Final = (
    "aiosqlite",
    "argon2",
    "authlib.integrations.httpx_client",
    "cryptography.fernet",
    "dotenv",
    "httpcore2",
    "httpx2",
    "idna",
    "itsdangerous",
    "nacl.pwhash",
    "pydantic",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
    "ua_parser",
)


def create_bare_app() -> Quart:
    """Return an application that answers what its session says."""
    app = Quart(__name__)
    app.secret_key = "not a secret: no session is ever signed"  # noqa: S105

    @app.get("/api/session_state")
    async def session_state() -> dict[str, bool]:
        return {"authenticated": "user_id" in session}

    return app


def create_app() -> Quart:
    """Return the same application in a process that has loaded the dependencies of quart_app."""
    for name in DEPENDENCIES:
        importlib.import_module(name)
    return create_bare_app()
