"""Values that pass between the outbound client and the use cases. Secrets are never in a repr."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

UNKNOWN_SOFTWARE: Final = "unknown"
# Mastodon and its forks, by the names that they give in NodeInfo.
_MASTODON: Final = frozenset({"mastodon", "hometown", "glitchcafe", "fedibird", "kmyblue", "ecko"})
_GRANULAR: Final = _MASTODON | {"gotosocial", "akkoma", "pleroma", "iceshrimp", "iceshrimp.net"}


@dataclass(frozen=True)
class Timeouts:
    """How long a request may take: until it is connected, and in all, waiting included."""

    connect: timedelta = timedelta(seconds=5)
    total: timedelta = timedelta(seconds=10)


@dataclass(frozen=True)
class Software:
    """The software of a server, by NodeInfo's name in lower case.

    `version` is for people; nothing is derived from it, because forks number as they like.
    """

    name: str = UNKNOWN_SOFTWARE
    version: str | None = None

    @property
    def binds_codes(self) -> bool:
        """Whether one registered app may serve many users of the server at the same time.

        This software gives an authorization code only to the user who authorized it, even where
        two users of one app do so in the same second. snac, for one, mixes them up.
        """
        return self.has_granular_scopes or self.name in {"pixelfed", "takahe", "hollo"}

    @property
    def has_granular_scopes(self) -> bool:
        """Whether the server knows scopes such as `read:accounts` even if it lists none."""
        return self.name in _GRANULAR


@dataclass(frozen=True)
class Instance:
    """A recognized server: `host` is `server.example`, or `host:port` where a port is allowed.

    The endpoints are complete https addresses at that host. `scopes_supported` is None where the
    server does not say.
    """

    host: str
    software: Software
    authorization_endpoint: str
    token_endpoint: str
    revocation_endpoint: str
    scopes_supported: frozenset[str] | None = None


@dataclass(frozen=True)
class App:
    """The registration of this application at one server."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True)
class Grant:
    """Tokens that a server granted. `expires_in` is None for tokens that do not expire.

    `scopes` is what the server says that it granted, separated by spaces; None if it doesn't say.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    scopes: str | None
    expires_in: timedelta | None


@dataclass(frozen=True)
class RemoteAccount:
    """An account as its server describes it: short texts without control characters.

    `id` is unique at its server. `username` is without @ and host. `display_name` may be empty.
    The addresses are https; None where the server gives none that is. `moved_to` is the account
    that replaces this one, as `name@host`; None if none does.
    """

    id: str
    username: str
    display_name: str
    profile_url: str | None
    avatar_url: str | None
    moved_to: str | None = None


@dataclass(frozen=True)
class Avatar:
    """A small picture: `content_type` is png, jpeg, webp or gif, as its bytes show."""

    content_type: str
    body: bytes = field(repr=False)
