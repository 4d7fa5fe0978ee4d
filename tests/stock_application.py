"""An application on unchanged Hypercorn, which loses requests when it is restarted."""

from quart import Quart, request


def create_app() -> Quart:
    """Return an application that answers every request after reading its body."""
    app = Quart(__name__)

    @app.route("/<path:path>", methods=["GET", "POST"])
    async def answer(path: str) -> str:
        await request.get_data()
        return path

    return app
