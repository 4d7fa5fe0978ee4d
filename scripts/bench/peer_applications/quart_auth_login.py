"""Quart with Quart-Auth."""

import secrets

from quart import Quart
from quart_auth import AuthUser, QuartAuth, current_user, login_required, login_user, logout_user

app = Quart(__name__)
app.secret_key = secrets.token_hex(32)
app.config["QUART_AUTH_COOKIE_SECURE"] = False  # the benchmark has no TLS
QuartAuth(app)


@app.post("/login")
async def log_in() -> tuple[str, int]:
    """Begin the session of the one user."""
    login_user(AuthUser("1"))
    return "", 204


@app.post("/logout")
async def log_out() -> tuple[str, int]:
    """End the session."""
    logout_user()
    return "", 204


@app.get("/me")
@login_required
async def me() -> dict[str, int]:
    """Return the user's id."""
    return {"user_id": int(current_user.auth_id or 0)}
