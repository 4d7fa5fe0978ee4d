"""Flask with a table of sessions, which each request reads, as the older application did.

The cookie has the id of a row. A logout deletes the row. PEER_DATABASE_URL is SQLAlchemy's. The
older application also wrote the row in each request; this one doesn't.
"""

import os
import secrets
import uuid
from datetime import UTC, datetime

from flask import Flask, abort, session
from sqlalchemy import ForeignKey, String, create_engine, delete, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

_OTHER_SESSIONS = 10_000


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


class Base(DeclarativeBase):
    """The tables of this application."""


class User(Base):
    """A user, with fewer columns than the older application had."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(64), unique=True)
    is_active: Mapped[bool]


class UserSession(Base):
    """A logged-in browser."""

    __tablename__ = "user_sessions"
    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(String(255), unique=True, index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    active_platform_id: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=_now)
    updated_at: Mapped[datetime] = mapped_column(default=_now)


app = Flask(__name__)
app.secret_key = secrets.token_hex(32)
engine = create_engine(os.environ["PEER_DATABASE_URL"])
Base.metadata.create_all(engine)
with Session(engine) as db, db.begin():
    db.add(User(id=1, username="peer", is_active=True))
    db.flush()
    for _ in range(_OTHER_SESSIONS):
        db.add(UserSession(session_id=str(uuid.uuid4()), user_id=1))


@app.post("/login")
def log_in() -> tuple[str, int]:
    """Begin the session of the one user."""
    session["session_id"] = str(uuid.uuid4())
    with Session(engine) as db, db.begin():
        db.add(UserSession(session_id=session["session_id"], user_id=1))
    return "", 204


@app.post("/logout")
def log_out() -> tuple[str, int]:
    """End the session."""
    with Session(engine) as db, db.begin():
        db.execute(delete(UserSession).where(UserSession.session_id == session["session_id"]))
    session.clear()
    return "", 204


@app.get("/me")
def me() -> dict[str, int]:
    """Return the user's id, from the row of the session."""
    asked = select(UserSession).where(UserSession.session_id == session.get("session_id", ""))
    with Session(engine) as db:
        row = db.scalars(asked).one_or_none()
    if row is None:
        abort(401)
    return {"user_id": row.user_id}
