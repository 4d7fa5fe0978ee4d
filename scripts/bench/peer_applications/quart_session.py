"""Stock Quart with its own signed-cookie session."""

import secrets

from quart import Quart, abort, session

app = Quart(__name__)
app.secret_key = secrets.token_hex(32)


@app.post("/login")
async def log_in() -> tuple[str, int]:
    """Begin the session of the one user."""
    session["user_id"] = 1
    return "", 204


@app.post("/logout")
async def log_out() -> tuple[str, int]:
    """End the session, as Quart's documentation does."""
    session.clear()
    return "", 204


@app.get("/me")
async def me() -> dict[str, int]:
    """Return the user's id."""
    if "user_id" not in session:
        abort(401)
    return {"user_id": session["user_id"]}
