"""What all pages share: rendering one, and going on to another after a form."""

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from quart import Response, redirect, render_template, request
from quart.typing import ResponseTypes

from quart_app.web.bodies import LONGEST_PATH
from quart_app.web.gate import services
from quart_app.web.session import validate_session
from quart_app.web.user_agents import described

# What a page says at its top after something was done. The address holds only the key, so that
# nobody can put words of their own on our page, and nothing need be kept in the session.
_NOTICES: Final = {
    "logged-out": "You are logged out.",
    "logged-out-everywhere": "You are logged out, on every device.",
    "switched": "You act for another platform connection now.",
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
    """Return the page; a template gets `values`, the login, its frame and a notice, nothing else.

    The frame's alerts come with what their browsers are in words.
    """
    login = validate_session()
    frame = await services().frames.frame_of(login.user_id, login.sid) if login else None
    html = await render_template(
        template,
        login=login,
        frame=frame,
        words_of_alerts=await described(
            each.user_agent for each in (frame.alerts if frame else ())
        ),
        notice=_NOTICES.get(request.args.get("notice", "")),
        **values,
    )
    return Response(html, status)


def local_path(text: str) -> str | None:
    r"""Return `text` if it is a path of this site, and not longer than a form may hold, else None.

    A browser takes `//host` and `/\host` for another site, and drops tabs and line ends first.
    """
    if not text.startswith("/") or text[1:2] in {"/", "\\"} or len(text) > LONGEST_PATH:
        return None
    if not text.isprintable() or " " in text or "\\" in text:
        return None
    return text


def go_on(path: str, *, notice: str | None = None) -> ResponseTypes:
    """Send the browser to a page of ours, which says `notice` at its top."""
    url = urlsplit(path)
    query = [pair for pair in url.query.split("&") if pair.partition("=")[0] not in {"", "notice"}]
    if notice is not None:
        query.append(f"notice={notice}")
    return redirect(url._replace(query="&".join(query)).geturl(), HTTPStatus.SEE_OTHER)
