"""Names of the browser and the system in a User-Agent header.

The library and its patterns are loaded with the first header: many processes never show one.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from quart_app.web.rendering.display import displayed

_UNKNOWN: Final = "An unknown program"


async def described(user_agents: Iterable[str | None]) -> dict[str | None, str]:
    """Return words for each, such as "Firefox 140 on Linux".

    This runs in a thread: the library's many patterns take milliseconds, the first time a hundred.
    """
    different = set(user_agents)
    if not different:
        return {}
    return await asyncio.to_thread(lambda: {each: _words(each) for each in different})


# ua-parser 1.0.2 raises ValueError where an optional group of a pattern stays empty.
@displayed(otherwise=_UNKNOWN)
def _words(user_agent: str | None) -> str:
    from ua_parser import parse  # noqa: PLC0415 see the docstring of this module

    if not user_agent:
        return _UNKNOWN
    parsed = parse(user_agent)
    browser, system = parsed.user_agent, parsed.os
    name = _UNKNOWN
    if browser is not None:
        name = f"{browser.family} {browser.major}" if browser.major else browser.family
    return name if system is None else f"{name} on {system.family}"
