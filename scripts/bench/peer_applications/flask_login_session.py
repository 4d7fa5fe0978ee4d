"""Flask with Flask-Login. The user is loaded from memory, which is the least that it can cost."""

import secrets

from flask import Flask
from flask_login import (
    LoginManager,
    UserMixin,
    current_user,
    login_required,
    login_user,
    logout_user,
)


class User(UserMixin):  # type: ignore[misc] # the package has no types
    """A user with nothing but an id."""

    def __init__(self, user_id: str) -> None:
        self.id = user_id


app = Flask(__name__)
app.secret_key = secrets.token_hex(32)
logins = LoginManager(app)
users = {"1": User("1")}
logins.user_loader(users.get)


@app.post("/login")
def log_in() -> tuple[str, int]:
    """Begin the session of the one user."""
    login_user(users["1"])
    return "", 204


@app.post("/logout")
def log_out() -> tuple[str, int]:
    """End the session."""
    logout_user()
    return "", 204


@app.get("/me")
@login_required  # type: ignore[untyped-decorator] # the package has no types
def me() -> dict[str, int]:
    """Return the user's id."""
    return {"user_id": int(current_user.id)}
