"""Authorizations at Fediverse servers that are under way, and the apps registered for them."""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from quart_app.model.lengths import (
    ACCOUNT_ID_LENGTH,
    AVATAR_TYPE_LENGTH,
    DISPLAY_NAME_LENGTH,
    HOST_LENGTH,
    PLATFORM_USERNAME_LENGTH,
    PROFILE_URL_LENGTH,
    SCOPES_LENGTH,
    SOFTWARE_LENGTH,
    STATE_HASH_LENGTH,
)
from quart_app.model.types import Base, BigId, UtcDateTime


class PlatformAuthorization(Base):
    """A user's attempt to connect an account, from the server's name to the click that adds it.

    Secrets are Fernet tokens: the app's secret, the PKCE verifier, and the tokens that the server
    issued. Of the OAuth `state` only the hash is kept. The row is deleted when the account is added
    or the attempt expires.
    """

    __tablename__ = "platform_authorizations"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    state_hash: Mapped[str] = mapped_column(String(STATE_HASH_LENGTH), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    # The connection to renew, if the attempt is to do that.
    platform_connection_id: Mapped[int | None] = mapped_column()
    host: Mapped[str] = mapped_column(String(HOST_LENGTH))
    software: Mapped[str | None] = mapped_column(String(SOFTWARE_LENGTH))
    scope: Mapped[str | None] = mapped_column(String(SCOPES_LENGTH))
    client_id: Mapped[str | None] = mapped_column(Text)
    client_secret: Mapped[str | None] = mapped_column(Text)
    code_verifier: Mapped[str | None] = mapped_column(Text)
    # When the browser came back with this state, which it may do once.
    returned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    access_token: Mapped[str | None] = mapped_column(Text)
    refresh_token: Mapped[str | None] = mapped_column(Text)
    granted_scopes: Mapped[str | None] = mapped_column(String(SCOPES_LENGTH))
    token_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    account_id: Mapped[str | None] = mapped_column(String(ACCOUNT_ID_LENGTH))
    username: Mapped[str | None] = mapped_column(String(PLATFORM_USERNAME_LENGTH))
    display_name: Mapped[str | None] = mapped_column(String(DISPLAY_NAME_LENGTH))
    profile_url: Mapped[str | None] = mapped_column(String(PROFILE_URL_LENGTH))
    avatar_type: Mapped[str | None] = mapped_column(String(AVATAR_TYPE_LENGTH))
    avatar: Mapped[bytes | None] = mapped_column(LargeBinary)


class AppRegistration(Base):
    """A registration of this application at a server: under way, failed, shared or for one attempt.

    Rows count how often a server was asked. A shared app's row keeps its credentials, for every
    later attempt with the same host, redirect address and scope; the secret is a Fernet token.
    """

    __tablename__ = "platform_apps"
    __table_args__ = (Index("ix_platform_apps_host_started_at", "host", "started_at"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    host: Mapped[str] = mapped_column(String(HOST_LENGTH))
    redirect_uri: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(String(SCOPES_LENGTH))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    is_shared: Mapped[bool] = mapped_column(Boolean)
    # Still being asked for, unless it failed or was refused: then others need not wait for it.
    is_under_way: Mapped[bool] = mapped_column(Boolean)
    client_id: Mapped[str | None] = mapped_column(Text)
    client_secret: Mapped[str | None] = mapped_column(Text)
