"""The demonstration's pages lead browsers to the port of its server that needs no certificate."""

from demo_server import lead_browsers
from quart import Quart, Response

WITH_TLS, WITHOUT_TLS = "https://localhost:1111", "http://localhost:2222"


async def test_only_the_page_that_a_browser_opens_is_without_tls() -> None:
    app = Quart(__name__)
    lead_browsers(app, WITH_TLS, WITHOUT_TLS)
    body = f"<a href='{WITH_TLS}/oauth/authorize?x=1'>go</a> {WITH_TLS}/@ada"

    @app.get("/<path:kind>")
    async def page(kind: str) -> Response:
        return Response(body, content_type=kind)

    client = app.test_client()
    for kind in ("text/html", "application/json"):
        response = await client.get(f"/{kind}")
        text = await response.get_data(as_text=True)
        assert text == f"<a href='{WITHOUT_TLS}/oauth/authorize?x=1'>go</a> {WITH_TLS}/@ada"
        assert int(response.headers["Content-Length"]) == len(text)
    response = await client.get("/text/csv")
    assert await response.get_data(as_text=True) == body
