"""The behaviour of `session` that Flask documents: the same handlers on both, compared."""

from collections.abc import Callable
from typing import Any

import pytest
from quart import Quart, session
from quart.typing import TestClientProtocol as Client

from tests.conftest import SECRET_KEY, Clock, set_cookies
from tests.session.applications import interface as our_interface
from tests.session.applications import signer

Handler = Callable[[], Any]


def change_inside_and_say_so() -> None:
    session["list"].append(4)
    session.modified = True


HANDLERS: dict[str, Handler] = {
    "set a key": lambda: session.update(colour="green"),
    "set by index": lambda: session.__setitem__("colour", "green"),
    "read a key": lambda: session.get("colour"),
    "read what is missing": lambda: session.get("missing", "none"),
    "test for a key": lambda: "colour" in session,
    "delete a key": lambda: session.pop("colour", None),
    "delete what is missing": lambda: session.pop("missing", None),
    "set a default": lambda: session.setdefault("size", 3),
    "set a default that is there": lambda: session.setdefault("colour", "red"),
    "pop an item": lambda: list(session.popitem()),
    "clear": lambda: session.clear(),  # noqa: PLW0108 the proxy finds its session when called
    "merge": lambda: session.update({"a": 1}, b=2),
    "keep a list": lambda: session.update(list=[1, 2]),
    "change inside, which is not noticed": lambda: session["list"].append(3),
    "change inside, and say so": change_inside_and_say_so,
    "look at all": lambda: dict(session),
    "count": lambda: len(session),
    "ask whether it is permanent": lambda: session.permanent,
    "ask whether it is modified": lambda: session.modified,
    "make it permanent": lambda: setattr(session, "permanent", True),
    "make it end with the browser": lambda: setattr(session, "permanent", False),
    "keep a tuple, bytes and markup": lambda: session.update(t=(1, 2), b=b"\x00", u="ümlaut"),
    "do nothing": lambda: None,
}


def app_of(interface: Any = None) -> Quart:
    app = Quart("peer")
    app.secret_key = SECRET_KEY
    app.config["SESSION_REFRESH_EACH_REQUEST"] = False  # here only a change is sent; see below
    if interface is not None:
        app.session_interface = interface

    @app.get("/<name>")
    async def handle(name: str) -> dict[str, Any]:
        returned = HANDLERS[name]()
        return {"returned": repr(returned), "modified": session.modified, "new": session.new}

    return app


def kept(client: Client) -> Any:
    values = [cookie.value for cookie in client.cookie_jar or () if cookie.name == "session"]
    return signer().loads(str(values[0])) if values else None


async def told(client: Client, name: str) -> tuple[Any, ...]:
    response = await client.get(f"/{name}")
    lines = set_cookies(response)
    line = lines.get("session")
    expires = line and ("xpires" in line or "Max-Age" in line)
    return await response.get_json(), kept(client), expires, response.status_code


@pytest.mark.parametrize("first", ["set a key", "keep a list", "make it permanent", "do nothing"])
@pytest.mark.parametrize("second", HANDLERS)
async def test_a_handler_sees_the_same_as_with_a_stock_session(
    clock: Clock, first: str, second: str
) -> None:
    if second.startswith("change inside") and first != "keep a list":
        return
    ours = app_of(our_interface(clock)).test_client()
    stock = app_of().test_client()
    for name in ("set a key", first, second, "look at all"):
        assert await told(ours, name) == await told(stock, name), name


async def test_a_permanent_session_is_not_sent_with_every_response(clock: Clock) -> None:
    """The one difference: refreshing loses updates (see docs/sessions.md)."""
    app = app_of(our_interface(clock))
    app.config["SESSION_REFRESH_EACH_REQUEST"] = True
    client = app.test_client()
    await client.get("/make it permanent")
    assert set_cookies(await client.get("/look at all")) == {}
