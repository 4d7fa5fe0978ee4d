"""What the stand-in's routes share: the server that is asked, and how it refuses."""

from quart import Response, current_app, jsonify, request

from standins.records import StandIn
from standins.software import Refusal, Software


def stand_in() -> StandIn:
    """Return the records of the server that answers the current request."""
    records: StandIn = current_app.extensions["stand_in"]
    return records


def software() -> Software:
    """Return the software of the server that answers the current request."""
    return stand_in().software


def origin() -> str:
    """Return the origin at which this server's API is reached."""
    return f"https://{request.host}"


# In the demonstration the stand-in shares its process with the application, whose connections add
# a policy to answers without one. It has no `form-action`: the form's answer leads to another site.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html(body: str, status: int = 200) -> Response:
    """Answer with a page."""
    headers = {"Content-Security-Policy": _POLICY}
    return Response(body, status, headers, content_type="text/html; charset=utf-8")


def refused(refusal: Refusal) -> Response:
    """Answer with this refusal."""
    if isinstance(refusal.body, str):
        return html(refusal.body, refusal.status)
    response = jsonify(refusal.body)
    response.status_code = refusal.status
    return response


def error(status: int, code: str, description: str = "") -> Response:
    """Answer with an error as in RFC 6749, section 5.2."""
    return refused(Refusal(status, {"error": code, "error_description": description or code}))
