"""The cookie with the states of this browser's authorizations at Fediverse servers.

An authorization ends only in the browser that began it. The states are in no page of ours, and in
no address of ours but that of the way back.
"""

import re
from collections.abc import Iterator
from typing import Final

from quart.typing import ResponseTypes

from quart_app.services.platforms.authorizations import (
    AUTHORIZATION_LIFETIME,
    BegunAuthorization,
)
from quart_app.web.pipeline.cookies import own_cookies

_COOKIE: Final = "authorizations"
_MOST: Final = 8  # the last that a browser began, each in a tab of its own
_ENTRY: Final = re.compile(r"([1-9][0-9]{0,18}):([\w-]{43})", re.ASCII)


def remember_authorization(response: ResponseTypes, begun: BegunAuthorization) -> None:
    """Add an authorization to the cookie, in place of an earlier one whose id it has."""
    entries = [f"{number}:{state}" for number, state in _entries() if number != begun.id]
    kept = [*entries, f"{begun.id}:{begun.state}"][-_MOST:]
    own_cookies().set(response, _COOKIE, ".".join(kept), AUTHORIZATION_LIFETIME)


def state_of(authorization_id: int) -> str:
    """Return the state of an authorization; empty if this browser did not begin it."""
    return next((state for number, state in _entries() if number == authorization_id), "")


def is_state_of_this_browser(state: str) -> bool:
    """Return whether this browser began the authorization with that state."""
    return any(state == own for _, own in _entries())


def only_state() -> str | None:
    """Return the state of the one authorization of this browser; None for none or several.

    Some servers send a user who refused back without the state.
    """
    states = {state for _, state in _entries()}
    return states.pop() if len(states) == 1 else None


def _entries() -> Iterator[tuple[int, str]]:
    for value in own_cookies().values(_COOKIE):
        for entry in value.split("."):
            if found := _ENTRY.fullmatch(entry):
                yield int(found[1]), found[2]
