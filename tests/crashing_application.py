"""The application with a view that fails, and logs a stranger's text in every way."""

import logging
import warnings

from quart import Quart, request

from quart_app.app import create_app
from quart_app.web.pipeline.access import public


def create_crashing_app() -> Quart:
    """Return the application, configured by the environment."""
    app = create_app()

    @app.get("/crash")
    @public
    async def crash() -> str:
        text = request.args["text"]
        logging.getLogger("asyncio").error("a library: %s", text)
        warnings.warn(text, stacklevel=1)
        logging.getLogger("quart_app.audit").info('{"event": "%s"}', text)
        raise ValueError(text)

    return app
