"""How each kind of server differs from Mastodon 4.2 when an account is connected.

Sources: https://docs.joinmastodon.org/methods/ (apps, oauth, accounts), https://docs.pixelfed.org,
https://docs.gotosocial.org/en/latest/api/authentication/, https://docs.akkoma.dev, and for Takahe,
Hollo and Friendica, which document little, the behaviour of their servers.
"""

from dataclasses import dataclass, replace
from enum import Enum

_GRANULAR = ("read:accounts", "read:statuses", "write:accounts", "write:statuses")
_COARSE = ("read", "write", "follow", "push")
_YEAR_SECONDS = 365 * 24 * 60 * 60
_SCOPES = (*_COARSE, *_GRANULAR)


class Pkce(Enum):
    """How a server treats a code challenge (RFC 7636)."""

    IGNORED = "ignored"
    CHECKED = "checked"  # S256 or plain
    S256_ONLY = "S256 only"


class InvalidScope(Enum):
    """Where the authorization page refuses a scope that the server or the app does not have."""

    REDIRECT = "by a redirect to the application"
    PAGE = "on the server's own page: the user is stranded"
    NOWHERE = "nowhere"


@dataclass(frozen=True)
class Refusal:
    """An answer that refuses: its status, and its body as JSON or as text."""

    status: int
    body: dict[str, str] | str


@dataclass(frozen=True)
class Software:
    """How a server describes itself and behaves; the defaults are Mastodon 4.2's."""

    name: str
    version: str
    nodeinfo_path: str = "/nodeinfo/2.0"
    scopes: tuple[str, ...] = _SCOPES
    has_metadata: bool = False  # RFC 8414
    pkce: Pkce = Pkce.IGNORED
    registers_any_scope: bool = False  # else an unknown scope is refused with 422
    invalid_scope: InvalidScope = InvalidScope.REDIRECT
    no_registration: Refusal | None = None  # without OAuth: the answer to a registration
    has_client_credentials: bool = True
    lifetime_seconds: int | None = None  # of an access token; with it comes a refresh token
    token_is_jwt: bool = False
    reuses_tokens: bool = False  # a user, an app and scopes have one token (Doorkeeper)
    token_has_scope: bool = True
    has_revocation: bool = True
    can_deny: bool = True
    denial_has_state: bool = True
    state_is_escaped: bool = True
    unknown_client: Refusal = Refusal(401, {"error": "invalid_client"})
    unsupported_grant: Refusal = Refusal(400, {"error": "unsupported_grant_type"})
    invalid_code: Refusal = Refusal(400, {"error": "invalid_grant"})
    invalid_token: Refusal = Refusal(401, {"error": "The access token is invalid"})
    revoked_token: Refusal = Refusal(401, {"error": "The access token was revoked"})


_PIXELFED = Software(
    "pixelfed",
    "0.12.6",
    nodeinfo_path="/api/nodeinfo/2.0.json",
    scopes=_COARSE,
    pkce=Pkce.CHECKED,
    registers_any_scope=True,
    lifetime_seconds=_YEAR_SECONDS,
    token_is_jwt=True,
    token_has_scope=False,
    has_revocation=False,
    invalid_token=Refusal(401, {"error": "Unauthenticated."}),
    revoked_token=Refusal(401, {"error": "Unauthenticated."}),
)
SOFTWARE = {
    "mastodon-4-2": Software("mastodon", "4.2.29", reuses_tokens=True),
    "mastodon-4-6": Software(
        "mastodon",
        "4.6.0",
        scopes=(*_SCOPES, "profile"),
        has_metadata=True,
        pkce=Pkce.S256_ONLY,
        reuses_tokens=True,
    ),
    "pixelfed": _PIXELFED,
    "pixelfed-without-oauth": replace(
        _PIXELFED, no_registration=Refusal(403, {"error": "Forbidden"})
    ),
    "gotosocial": Software(
        "gotosocial",
        "0.20.1",
        scopes=("read", "write", *_GRANULAR, "push", "profile"),
        registers_any_scope=True,
        invalid_scope=InvalidScope.PAGE,
        invalid_token=Refusal(401, {"error": "Unauthorized: invalid token"}),
        revoked_token=Refusal(401, {"error": "Unauthorized: invalid token"}),
    ),
    "akkoma": Software(
        "akkoma",
        "3.15.2",
        nodeinfo_path="/nodeinfo/2.0.json",
        registers_any_scope=True,
        invalid_scope=InvalidScope.PAGE,
        lifetime_seconds=600,
        can_deny=False,
        unknown_client=Refusal(400, {"error": "Invalid credentials"}),
        invalid_code=Refusal(400, {"error": "Invalid credentials"}),
        invalid_token=Refusal(403, {"error": "Invalid credentials."}),
        revoked_token=Refusal(403, {"error": "Invalid credentials."}),
    ),
    "takahe": Software(
        "takahe",
        "0.11.0",
        scopes=_COARSE,
        registers_any_scope=True,
        invalid_scope=InvalidScope.NOWHERE,
        has_client_credentials=False,
        can_deny=False,
        state_is_escaped=False,
        unknown_client=Refusal(401, {"error": "access_denied"}),
        unsupported_grant=Refusal(400, {"error": "invalid_grant_type"}),
        invalid_code=Refusal(500, "<h1>Server Error (500)</h1>"),
        invalid_token=Refusal(400, "Invalid Bearer token"),
        revoked_token=Refusal(400, "Invalid Bearer token"),
    ),
    "hollo": Software(
        "hollo",
        "0.6.12",
        scopes=(*_SCOPES, "profile"),
        has_metadata=True,
        pkce=Pkce.S256_ONLY,
        invalid_scope=InvalidScope.PAGE,
        denial_has_state=False,
        invalid_token=Refusal(401, {"error": "invalid_token"}),
        revoked_token=Refusal(401, {"error": "invalid_token"}),
    ),
    "friendica": Software(
        "friendica",
        "2024.12",
        scopes=_COARSE,
        invalid_scope=InvalidScope.NOWHERE,
        can_deny=False,
        unknown_client=Refusal(422, {"error": "Unprocessable Entity"}),
        invalid_code=Refusal(401, {"error": "Unauthorized"}),
        invalid_token=Refusal(401, {"error": "This method requires an authenticated user"}),
        revoked_token=Refusal(401, {"error": "This method requires an authenticated user"}),
    ),
}
