"""Paths of this site that a form may lead to: the guard against open redirects."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from quart import current_app, request
from werkzeug.exceptions import HTTPException

from quart_app.web.pipeline.access import Mark, is_marked
from quart_app.web.pipeline.bodies import Body
from quart_app.web.pipeline.fields import LONGEST_PATH, LinkText
from quart_app.web.pipeline.problems import API_PREFIX
from quart_app.web.pipeline.root_path import without_root_path

# Paths that clients and servers normalize, each in its own way.
_LEADS_ELSEWHERE: Final = re.compile(r"//|/\.\.?(/|$)")


class ReturnForm(Body):
    """The form of a button; `next` is the page that contains it."""

    next: LinkText = ""


def safe_local_path(text: str) -> str | None:
    r"""Return `text` if a page of ours is there, and it is not longer than a form may hold.

    Or if it is below one of the guarded paths, where another application answers.
    Else None, as for an address that only accepts forms. A browser takes `//host` and `/\host`
    for another site, and drops tabs and line ends first.
    """
    if not text.startswith("/") or text[1:2] in {"/", "\\"} or len(text) > LONGEST_PATH:
        return None
    if not text.isprintable() or " " in text or "\\" in text:
        return None
    path = unquote(urlsplit(text).path)
    if _LEADS_ELSEWHERE.search(path):
        return None
    is_guarded = path.startswith(current_app.config["GUARDED_PATHS"])
    return text if is_guarded or _is_page(without_root_path(path)) else None


def _is_page(path: str | None) -> bool:
    adapter = current_app.create_url_adapter(request)
    if path is None or adapter is None or path.startswith(API_PREFIX):
        return False
    try:
        endpoint, _ = adapter.match(path, "GET")
    except HTTPException:  # nothing is there, or only with a form or at another address
        return False
    return not is_marked(Mark.NO_PAGE, current_app.view_functions.get(endpoint))
