"""Notices: the sentence that a page shows once, after the form that led to it was carried out.

The sentence travels in a signed cookie of its own, because an address could be forged by a link
and would show it again with each reload, and because only login, logout and switch may write the
session. Each destination has its own cookie, so two tabs don't take each other's notice. The
signature covers the session, so the next user of the browser doesn't see a notice for the last one.
"""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple, cast
from urllib.parse import unquote, urlsplit

from itsdangerous import BadData, URLSafeTimedSerializer
from quart import Quart, current_app
from quart.typing import ResponseTypes

from quart_app.session import validate_session
from quart_app.web.pipeline.claims import current_connection_id
from quart_app.web.pipeline.cookies import own_cookies

# The place of the current connection's name in a sentence. Names stay out of cookies.
CURRENT: Final = "{current}"
_SALT: Final = "quart_app-notice"
_LIFETIME: Final = timedelta(minutes=1)  # the browser follows the redirect at once
_PATH_HASH_LENGTH: Final = 8


class Notice(NamedTuple):
    """A sentence, and whether it says that something failed."""

    sentence: str
    is_problem: bool


def install(app: Quart, keys: Sequence[str]) -> None:
    """Let the views of `app` leave notices; `keys` are the session's, newest first."""
    app.extensions["quart_app.notices"] = URLSafeTimedSerializer(list(reversed(keys)))


def leave_notice(
    response: ResponseTypes, sentence: str, destination: str, *, is_problem: bool = False
) -> None:
    """Show `sentence` on the page that the redirect `response` leads to.

    Only the session that the response leaves the browser with shows it, or if it leaves none, a
    browser where nobody is logged in. So begin or clear the session first.
    """
    path = unquote(urlsplit(destination).path)
    value = str(
        _serializer().dumps(
            [path, sentence, is_problem, _current_id(sentence)], salt=_salt_of_session()
        )
    )
    own_cookies().set(response, _name_for(path), value, _LIFETIME)


def waiting_notice(path: str) -> Notice | None:
    """Return the notice that waits for the page at `path`, in this session; None without one.

    A sentence about the current connection ends with it.
    """
    for value in own_cookies().values(_name_for(path)):
        try:
            payload = _serializer().loads(
                value, max_age=int(_LIFETIME.total_seconds()), salt=_salt_of_session()
            )
        except (BadData, ValueError, RecursionError):
            continue
        match payload:
            case [str(destination), str(sentence), bool(is_problem), platform_connection_id] if (
                destination == path and platform_connection_id == _current_id(sentence)
            ):
                return Notice(sentence, is_problem=is_problem)
    return None


def forget_notice(response: ResponseTypes, path: str) -> None:
    """Let the browser forget the sentence, which the page at `path` now shows."""
    own_cookies().delete(response, _name_for(path))


def _serializer() -> URLSafeTimedSerializer:
    return cast(URLSafeTimedSerializer, current_app.extensions["quart_app.notices"])


def _salt_of_session() -> str:
    """Return the salt of the signature, which differs for each session."""
    claims = validate_session()
    return f"{_SALT}:{claims.sid if claims else ''}"


def _current_id(sentence: str) -> int | None:
    """Return the id of the current connection, if the sentence names it."""
    claims = validate_session()
    return current_connection_id(claims) if claims and CURRENT in sentence else None


def _name_for(path: str) -> str:
    digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()
    return f"notice_{digest[:_PATH_HASH_LENGTH]}"
