"""The application with every logger at DEBUG, to see what it and its libraries would log."""

import logging

from quart import Quart

from quart_app.app import create_app


def create_debug_app() -> Quart:
    """Return the application, configured by the environment."""
    logging.basicConfig(level=logging.DEBUG)
    return create_app()
