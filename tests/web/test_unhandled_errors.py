"""A failure anywhere is answered with a 500 with text, a request id and every security header."""

from collections.abc import Callable
from typing import Any

import pytest
from quart import Quart

from tests.conftest import Member, log_in
from tests.web.test_headers import ALWAYS

pytestmark = pytest.mark.parametrize("engine_name", ["sqlite"])


async def _raise(*_: object, **__: object) -> Any:
    raise ValueError("spoilt")


def _in_the_view(app: Quart) -> None:
    app.view_functions["platforms.dashboard"] = _raise


def _before_the_request(app: Quart) -> None:
    app.before_request(_raise)


def _after_the_request(app: Quart) -> None:
    app.after_request(_raise)


def _after_the_headers(app: Quart) -> None:
    app.after_request_funcs[None].insert(0, _raise)


def _in_the_headers_function(app: Quart) -> None:
    functions = app.after_request_funcs[None]
    (at,) = (at for at, each in enumerate(functions) if each.__name__ == "leave")
    functions[at] = _raise


def _in_teardown(app: Quart) -> None:
    app.teardown_request(_raise)


def _in_teardown_of_the_application_context(app: Quart) -> None:
    app.teardown_appcontext(_raise)


def _opening_the_session(app: Quart) -> None:
    app.session_interface.open_session = _raise  # type: ignore[method-assign]


def _saving_the_session(app: Quart) -> None:
    app.session_interface.save_session = _raise  # type: ignore[method-assign]


def _in_the_frame(app: Quart) -> None:
    _in_the_view(app)
    object.__setattr__(app.extensions["quart_app"].page_contexts, "database", None)


def _in_the_layout(app: Quart) -> None:
    del app.jinja_env.globals["safely"]
    app.jinja_env.cache = None


def _in_every_template(app: Quart) -> None:
    _in_the_view(app)
    app.jinja_env.filters.clear()
    app.jinja_env.globals.clear()
    app.jinja_env.cache = None


def _in_the_error_handler(app: Quart) -> None:
    _in_the_view(app)
    for handlers in app.error_handler_spec[None].values():
        for kind in handlers:
            handlers[kind] = _raise


FAILURES: list[Callable[[Quart], None]] = [
    *(_in_the_view, _before_the_request, _after_the_request, _after_the_headers),
    *(_in_the_headers_function, _in_teardown, _in_teardown_of_the_application_context),
    *(_opening_the_session, _saving_the_session, _in_the_frame, _in_the_layout),
    *(_in_every_template, _in_the_error_handler),
]


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize("spoil", FAILURES, ids=lambda spoil: spoil.__name__.strip("_"))
async def test_a_failure_in_any_layer_gets_a_response(
    app: Quart,
    member: Member,
    spoil: Callable[[Quart], None],
    accept: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = app.test_client()
    await log_in(client, member)
    spoil(app)
    response = await client.get("/", headers={"Accept": accept})
    app.teardown_appcontext_funcs.clear()  # the application stops after the test, too
    text = await response.get_data(as_text=True)
    assert response.status_code == 500
    request_id = response.headers["X-Request-Id"]
    assert any(request_id in record.getMessage() for record in caplog.records)
    assert response.headers["Content-Security-Policy"]
    for name in ALWAYS.keys() - {"Content-Security-Policy"}:
        assert response.headers[name] == ALWAYS[name], name
    if response.mimetype == "text/html":
        assert "<h1>Something went wrong</h1>" in text
        assert request_id in text
    else:
        assert response.mimetype == "application/problem+json"
        assert (await response.get_json(force=True))["status"] == 500
    assert (response.mimetype == "text/html") is (accept == "text/html")
