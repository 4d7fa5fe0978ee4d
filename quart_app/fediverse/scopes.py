"""The permissions to ask a server for: as few as let an account be recognized."""

from typing import Final

from quart_app.fediverse.types import Instance

# The least first. `profile` came with Mastodon 4.3; granular scopes with 2.4.3; every server with
# this API knows `read`.
_LADDER: Final = ("profile", "read:accounts", "read")


def scopes_to_try(instance: Instance) -> tuple[str, ...]:
    """Return the scopes to ask for, one after the other where a server refuses the one before."""
    supported = instance.scopes_supported
    if supported is None:
        return _LADDER[1:] if instance.software.has_granular_scopes else _LADDER[2:]
    first = next((rung for rung, scope in enumerate(_LADDER) if scope in supported), -1)
    return _LADDER[first:]
