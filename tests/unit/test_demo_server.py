"""The demonstration's answers lead browsers to the port of its server that needs no certificate."""

from demo_server import lead_browsers
from quart import Quart, Response, redirect
from quart.typing import ResponseReturnValue

WITH_TLS, WITHOUT_TLS = "https://localhost:1111", "http://localhost:2222"


async def test_only_the_page_that_a_browser_opens_is_without_tls() -> None:
    app = Quart(__name__)
    lead_browsers(app, WITH_TLS, WITHOUT_TLS)
    body = f"{WITH_TLS}/oauth/authorize?x=1 {WITH_TLS}/@ada"

    @app.get("/body/<path:kind>")
    async def shown(kind: str) -> Response:
        return Response(body, content_type=kind)

    @app.get("/to/<path:path>")
    async def redirected(path: str) -> ResponseReturnValue:
        return redirect(f"{WITH_TLS}/{path}?x=1")

    client = app.test_client()
    response = await client.get("/body/application/json")
    text = await response.get_data(as_text=True)
    assert text == f"{WITHOUT_TLS}/oauth/authorize?x=1 {WITH_TLS}/@ada"
    assert int(response.headers["Content-Length"]) == len(text)
    response = await client.get("/body/text/csv")
    assert await response.get_data(as_text=True) == body
    response = await client.get("/to/oauth/authorize")
    assert response.headers["Location"] == f"{WITHOUT_TLS}/oauth/authorize?x=1"
    response = await client.get("/to/@ada")
    assert response.headers["Location"] == f"{WITH_TLS}/@ada?x=1"
