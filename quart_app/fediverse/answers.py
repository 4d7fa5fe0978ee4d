"""Answers of other servers, which may hold anything: JSON objects and short texts out of them."""

import json
import re
import unicodedata
from http import HTTPStatus
from typing import Any, Final, Never

import httpx2

from quart_app.fediverse.errors import (
    ServerBusy,
    ServerFailed,
    ServerMoved,
    ServerNotSupported,
    ServerUnreachable,
)
from quart_app.fediverse.server_names import server_in

_JSON: Final = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.ASCII | re.IGNORECASE)
# Control characters, lone surrogates, line and paragraph separators.
_REFUSED_CATEGORIES: Final = {"Cc", "Cs", "Zl", "Zp"}
_BIDI_CONTROLS: Final = set(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_SHORTEST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1, 3600
# 64 KiB of empty lists take 27 ms to parse, and a thread would not help: the parser keeps the GIL.
_MOST_VALUES: Final = 5000
_LONGEST_URL: Final = 2048


def json_object(server: str, response: httpx2.Response) -> dict[str, Any]:
    """Return the body as a JSON object, whatever the status. Raises ServerNotSupported."""
    if not _JSON.fullmatch(response.headers.get("content-type", "").strip()):
        raise ServerNotSupported(server)
    try:
        if sum(map(response.content.count, (b"[", b"{"))) > _MOST_VALUES:
            raise ServerNotSupported(server)
        # RFC 8259 section 8.1 allows UTF-8 only. Python refuses numbers with thousands of digits
        # (ValueError) and about a thousand levels of nesting (RecursionError).
        value = json.loads(response.content.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ServerNotSupported(server) from None
    if not isinstance(value, dict):
        raise ServerNotSupported(server)
    return value


def raise_for_failure(server: str, response: httpx2.Response) -> None:
    """Raise what any request to a server may meet: a redirect, a limit, a failure of its own."""
    status = response.status_code
    if response.is_redirect:
        raise _redirected(server, response.headers.get("location", ""))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise ServerBusy(
            server, retry_after_seconds=_seconds(response.headers.get("retry-after", ""))
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ServerFailed(server)


def short_text(value: object, longest: int) -> str:
    """Return a text from outside in one line and at most `longest` characters; "" if it is none."""
    if not isinstance(value, str):
        return ""
    return "".join(
        character
        for character in value[: 4 * longest]
        if unicodedata.category(character) not in _REFUSED_CATEGORIES
        and character not in _BIDI_CONTROLS
    ).strip()[:longest]


def identifier(value: object, longest: int) -> str | None:
    """Return an identifier that a server gave, a number or a text; None if it is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    text = short_text(value, longest + 1)
    return text if text == value and 0 < len(text) <= longest else None


def https_url(value: object, *, longest: int = _LONGEST_URL) -> str | None:
    """Return an https address that a server gave, to link to or to fetch; None if it is none.

    None also if it has more than `longest` characters, counted after percent-encoding.
    """
    if not isinstance(value, str) or len(value) > longest:
        return None
    try:
        server_in(value)
    except ValueError:
        return None
    url = str(httpx2.URL(value))
    return url if len(url) <= longest else None


def _redirected(server: str, location: str) -> ServerUnreachable | ServerNotSupported:
    try:
        moved_to = server_in(location)
    except ValueError:
        return ServerNotSupported(server)
    return ServerNotSupported(server) if moved_to == server else ServerMoved(server, moved_to)


def _seconds(retry_after: str) -> int:
    """Return a Retry-After in seconds, within bounds; its other form, a date, is a minute."""
    seconds = int(retry_after) if re.fullmatch(r"[0-9]{1,9}", retry_after) else 60
    return min(max(seconds, _SHORTEST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS)


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")
