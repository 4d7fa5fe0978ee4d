"""What all pages share: rendering one, and going on to another after a form."""

import re
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from quart import Response, current_app, g, redirect, render_template, request, url_for
from quart.typing import ResponseTypes
from werkzeug.exceptions import HTTPException

from quart_app.errors import NotFound
from quart_app.services.frames import Frame
from quart_app.web.bodies import LONGEST_PATH
from quart_app.web.gate import PUBLIC, now, services
from quart_app.web.last_resort import plain_page
from quart_app.web.session import Login, timestamp, validate_session
from quart_app.web.user_agents import described

# Of these blueprints, and of static files (of none), nothing is shown to people.
_NO_PAGES: Final = frozenset({"", "api", "csp_reports", "events", "operations"})
# What clients and servers make something else of, and not all the same.
_LEADS_ELSEWHERE: Final = re.compile(r"//|/\.\.?(/|$)")
_UNSENT: Final = "What you had typed was not sent."
# What a page says at its top after something was done. The address holds only the key, so that
# nobody can put words of their own on our page, and nothing need be kept in the session.
_NOTICES: Final = {
    "logged-out": "You are logged out.",
    # By the script, when the session ended elsewhere: see static/js/leaving.js.
    "ended": "Your session is over, so you were logged out here, too.",
    "ended-here": "You logged out in another tab or window.",
    "ended-everywhere": "You were logged out: somebody logged you out on every device.",
    "ended-password": "You were logged out: your password was changed on another device.",
    "ended-device": "You were logged out: this login was ended on another device.",
    "ended-administrator": "You were logged out: an administrator ended your session.",
    "ended-too-many": "You were logged out: you logged in on too many other devices.",
    "ended-idle": "You were logged out, for nothing was done for a while.",
    "ended-limit": "You were logged out: a session lasts no longer, whatever is done in it.",
    "logged-out-everywhere": "You are logged out, on every device.",
    "device-ended": "That login is over.",
    "others-ended": "Your other logins are over.",
    "connected": "The platform connection is added.",
    "default": "New sessions begin with this platform connection.",
    "changed": "The platform connection is changed.",
    "removed": "The platform connection is removed.",
    "login-ended": "That login is over.",
    "users-ended": "Every session of this user is over.",
    "deactivated": "This user is deactivated, and every session of theirs is over.",
    "deactivated-oneself": "Your account is deactivated, and you are logged out.",
    "activated": "This user is active, and can log in again.",
    "role": "The role of this user is changed, and holds already.",
    "own-role": "Your role is changed: you are no administrator any more.",
    "everybodys-ended": "Every session is over; everybody logs in again.",
    "answered": "Good. You are not told of it again on this device.",
    "disowned": "Every session of yours is over. Log in again and choose a new password.",
    "reset": "Your new password is set: log in with it.",
    "reset-for-another": "The new password is set. You are still logged in, as another user.",
    "password": "Your password is changed, and your other sessions are over.",
}


async def page(template: str, *, status: int = HTTPStatus.OK, **values: Any) -> Response:
    """Return the page; a template gets `values` and what `_rendered` gives it, nothing else.

    Raises NotFound where it is a user's, and the account is gone or inactive.
    """
    login = validate_session()
    frame = await _frame_of(login) if login else None
    if frame is None and request.endpoint not in PUBLIC:
        raise NotFound
    return Response(await _rendered(template, login, frame, _this_page(), values), status)


async def error_page(
    status: HTTPStatus, heading: str, sentence: str, *, try_again: str | None = None
) -> Response:
    """Return the page of an error; with `try_again`, a path, it links there.

    It has its frame where that can be had: it is tried with it, without it, and at last without a
    template.
    """
    login = validate_session()
    values = {
        "status": status,
        "heading": heading,
        "sentence": sentence,
        "try_again": try_again,
        "request_id": g.request_id,
    }
    frame_comes_from_database = login is not None and status != HTTPStatus.SERVICE_UNAVAILABLE
    for is_framed in (True, False) if frame_comes_from_database else (False,):
        try:
            frame = await _frame_of(login) if is_framed and login is not None else None
            back = url_for("platforms.dashboard")
            return Response(await _rendered("error.html", login, frame, back, values), status)
        except Exception as error:  # noqa: BLE001 whatever it is, the error comes first
            current_app.logger.warning(
                "The error page of request %s can't be shown %s: %s: %s",
                *(g.request_id, "with its frame" if is_framed else "by its template"),
                *(type(error).__name__, error),
            )
    page = plain_page(g.request_id, heading, sentence)
    return Response(page, status, content_type="text/html; charset=utf-8")


async def _frame_of(login: Login) -> Frame | None:
    return await services().frames.frame_of(login.user_id, login.sid, login.platform_connection_id)


async def _rendered(
    template: str, login: Login | None, frame: Frame | None, back: str, values: dict[str, Any]
) -> str:
    """Return the page with its frame: the alerts, what their browsers are in words, a notice.

    To `back` the forms of the frame lead; `served_at` is what scripts count from.
    """
    notice = request.args.get("notice", "")
    words_of_alerts = await described(each.user_agent for each in (frame.alerts if frame else ()))
    return await render_template(
        template,
        login=login,
        frame=frame,
        words_of_alerts=words_of_alerts,
        is_switched=notice == "switched",
        notice=_sentence(notice),
        back_here=back,
        served_at=timestamp(now()),
        **values,
    )


def _this_page() -> str:
    """Return the path of the page that is shown, where it can be asked for again."""
    path = request.full_path.rstrip("?") if request.method == "GET" else request.path
    return page_at(path) or url_for("platforms.dashboard")


def _sentence(notice: str) -> str | None:
    sentence = _NOTICES.get(notice)
    return f"{sentence} {_UNSENT}" if sentence and "unsent" in request.args else sentence


def page_at(text: str) -> str | None:
    r"""Return `text` if a page of ours is there, and it is not longer than a form may hold.

    Else None: what only a form is sent to can't be gone to. A browser takes `//host` and `/\host`
    for another site, and drops tabs and line ends first.
    """
    if not text.startswith("/") or text[1:2] in {"/", "\\"} or len(text) > LONGEST_PATH:
        return None
    if not text.isprintable() or " " in text or "\\" in text:
        return None
    path, adapter = unquote(urlsplit(text).path), current_app.create_url_adapter(request)
    if _LEADS_ELSEWHERE.search(path):
        return None
    try:
        endpoint, _ = adapter.match(path, "GET") if adapter else ("", {})
    except HTTPException:  # nothing is there, or only with a form or at another address
        return None
    return text if endpoint.rpartition(".")[0] not in _NO_PAGES else None


def go_on(path: str, *, notice: str | None = None) -> ResponseTypes:
    """Send the browser to a page of ours, which says `notice` at its top."""
    url = urlsplit(path)
    query = [pair for pair in url.query.split("&") if pair.partition("=")[0] not in {"", "notice"}]
    if notice is not None:
        query.append(f"notice={notice}")
    return redirect(url._replace(query="&".join(query)).geturl(), HTTPStatus.SEE_OTHER)
