"""What a stand-in knows: users, apps, codes and tokens, all in memory.

Tests change it from another thread than the server's; every change is one assignment.
"""

import base64
import hashlib
import json
import secrets
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field

from standins.software import Pkce, Software

CODE_SECONDS = 600


@dataclass
class User:
    """A person with an account at the stand-in."""

    id: str
    username: str
    display_name: str
    moved_to: str | None = None  # the handle of the account that replaces this one
    is_disabled: bool = False
    overrides: dict[str, object] = field(default_factory=dict)  # of the account, as JSON


@dataclass(frozen=True)
class App:
    """A registered application."""

    id: str
    name: str
    website: str | None
    redirect_uris: tuple[str, ...]
    scopes: tuple[str, ...]
    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True)
class Grant:
    """A user's consent, until its code is exchanged."""

    client_id: str
    redirect_uri: str
    username: str
    scopes: tuple[str, ...]
    challenge: str | None
    challenge_method: str
    expires_at: float


@dataclass
class Token:
    """An access token, of a user or of an app alone."""

    client_id: str
    username: str | None
    scopes: tuple[str, ...]
    created_at: int
    expires_at: float | None
    refresh_token: str | None
    is_revoked: bool = False

    def is_valid(self) -> bool:
        """Return whether it is neither revoked nor expired."""
        return not self.is_revoked and (self.expires_at is None or time.time() < self.expires_at)


@dataclass(frozen=True)
class Answer:
    """An answer that replaces the route's own."""

    status: int
    body: str = ""
    content_type: str = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


def _jwt(token: Token) -> str:
    """Return a token as Laravel Passport makes them: a JWT of some 900 characters."""
    claims = {
        "aud": token.client_id,
        "jti": secrets.token_hex(40),
        "iat": token.created_at,
        "nbf": token.created_at,
        "exp": token.expires_at,
        "sub": token.username,
        "scopes": list(token.scopes),
    }
    parts = [json.dumps({"typ": "JWT", "alg": "RS256"}), json.dumps(claims)]
    encoded = [base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, secrets.token_urlsafe(512)])


class StandIn:
    """The state of one server: its records, the requests it got, and how it should misbehave."""

    def __init__(self, software: Software) -> None:
        self.software = software
        self.users: dict[str, User] = {}
        self.apps: dict[str, App] = {}
        self.grants: dict[str, Grant] = {}
        self.tokens: dict[str, Token] = {}
        self.requests: Counter[str] = Counter()  # by method and path: "POST /api/v1/apps"
        self.answers: dict[str, Answer] = {}  # by path
        self.delays_seconds: dict[str, float] = {}  # by path
        self.token_overrides: dict[str, object] = {}  # of a token's JSON; `...` leaves a key out
        for username, display_name in [("ada", "Ada Lovelace"), ("grace", "Grace Hopper")]:
            self.user(username, display_name)

    def user(self, username: str, display_name: str | None = None) -> User:
        """Return the user of this name; a new one where there is none yet."""
        # As Mastodon's, an id is digits and too great for a double.
        id_ = str(109_000_000_000_000_000 + zlib.crc32(username.encode()))
        return self.users.setdefault(
            username, User(id_, username, display_name or username.title())
        )

    def answer(self, path: str, status: int, body: str = "", **more: object) -> None:
        """Answer so at this path, until `recover`."""
        self.answers[path] = Answer(status, body, **more)  # type: ignore[arg-type]

    def recover(self) -> None:
        """Answer everything as the software does."""
        self.answers, self.delays_seconds, self.token_overrides = {}, {}, {}

    def reset(self) -> None:
        """Forget everything but the first two users."""
        self.__init__(self.software)  # type: ignore[misc]

    # --- apps, codes and tokens ---

    def add_app(
        self, name: str, website: str | None, redirect_uris: tuple[str, ...], scopes: list[str]
    ) -> App:
        """Register an application."""
        app = App(
            id=str(len(self.apps) + 1),
            name=name,
            website=website,
            redirect_uris=redirect_uris,
            scopes=tuple(scopes),
            client_id=secrets.token_urlsafe(32),
            client_secret=secrets.token_urlsafe(32),
        )
        self.apps[app.client_id] = app
        return app

    def authenticated_app(self, client_id: str, client_secret: str) -> App | None:
        """Return the app with this secret; None where there is none."""
        app = self.apps.get(client_id)
        return app if app and secrets.compare_digest(app.client_secret, client_secret) else None

    def delete_apps(self) -> None:
        """Forget every app, with its codes and tokens, as an administrator or a clean-up does."""
        self.apps, self.grants, self.tokens = {}, {}, {}

    def disown(self, client_id: str) -> None:
        """Forget one app, with its codes and tokens."""
        self.apps.pop(client_id, None)
        self.grants = {c: grant for c, grant in self.grants.items() if grant.client_id != client_id}
        self.tokens = {t: token for t, token in self.tokens.items() if token.client_id != client_id}

    def add_grant(self, grant: Grant) -> str:
        """Remember a consent; return its code."""
        code = secrets.token_urlsafe(32)
        self.grants[code] = grant
        return code

    def take_grant(self, code: str, app: App, redirect_uri: str, verifier: str) -> Grant | None:
        """Return the consent of this code and use it up; None where anything does not match."""
        grant = self.grants.get(code)
        if (
            grant is None
            or grant.client_id != app.client_id
            or grant.redirect_uri != redirect_uri
            or grant.expires_at < time.time()
            or not self._is_verified(grant, verifier)
        ):
            return None
        return self.grants.pop(code)

    def _is_verified(self, grant: Grant, verifier: str) -> bool:
        if self.software.pkce is Pkce.IGNORED or grant.challenge is None:
            return True
        digest = hashlib.sha256(verifier.encode()).digest()
        hashed = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return grant.challenge == (hashed if grant.challenge_method == "S256" else verifier)

    def reused_token(self, app: App, grant: Grant) -> str | None:
        """Return the valid token that the user granted to the app before; None if there is none."""
        granted = (app.client_id, grant.username, grant.scopes)
        for value, token in self.tokens.items():
            if token.is_valid() and (token.client_id, token.username, token.scopes) == granted:
                return value
        return None

    def add_token(
        self, app: App, username: str | None, scopes: tuple[str, ...], *, refreshes: bool = True
    ) -> str:
        """Make an access token, of a user or of the app alone."""
        lifetime = self.software.lifetime_seconds
        expires_at = None if lifetime is None else time.time() + lifetime
        token = Token(
            client_id=app.client_id,
            username=username,
            scopes=scopes,
            created_at=int(time.time()),
            expires_at=expires_at,
            refresh_token=secrets.token_urlsafe(32)
            if refreshes and username and lifetime
            else None,
        )
        value = _jwt(token) if self.software.token_is_jwt else secrets.token_urlsafe(32)
        self.tokens[value] = token
        return value

    def personal_token(self, username: str = "ada", scopes: tuple[str, ...] = ("read",)) -> str:
        """Make a token of the kind that a user copies from the server's settings page."""
        app = self.add_app("Personal access", None, (), list(scopes))
        self.user(username)
        return self.add_token(app, username, scopes, refreshes=False)

    def refreshed(self, refresh_token: str, app: App) -> str | None:
        """Return a new access token for a refresh token, which is used up; None if unknown."""
        for token in self.tokens.values():
            if token.refresh_token == refresh_token and token.client_id == app.client_id:
                token.refresh_token, token.is_revoked = None, True
                return self.add_token(app, token.username, token.scopes)
        return None

    def revoke(self, username: str) -> None:
        """Revoke every token of this user, refresh tokens too."""
        for token in self.tokens.values():
            if token.username == username:
                token.is_revoked, token.refresh_token = True, None
