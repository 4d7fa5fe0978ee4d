"""The demonstration's own Fediverse server, so that an account can be connected without the net.

The application speaks to it as to any server, by https: its certificate is of an authority made
for this run, which EXTRA_CA_FILE names. A browser does not know that authority and would warn. So
the answers of this demonstration, and of nothing else, lead browsers to the same server's port
without TLS. No setting of the application can do that: it happens to answers, outside it.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quart import Quart, Response
from standins.certificates import CertificateAuthority
from standins.listener import LOOPBACK
from standins.loop_thread import loop_thread
from standins.serving import ServedStandIn, served
from standins.software import SOFTWARE

from quart_app.app import create_app
from quart_app.settings import PREFIX

_ORIGINS = "QUART_DEMO_SERVER_ORIGINS"  # to Hypercorn's workers: with TLS, and without
_PAGE = "/oauth/authorize"


@contextmanager
def demo_server(folder: Path) -> Iterator[ServedStandIn]:
    """Serve it until the block ends, and set the environment so that the application finds it."""
    authority = CertificateAuthority(folder)
    with (
        loop_thread() as thread,
        served(SOFTWARE["mastodon-4-6"], thread, authority.certificate("localhost")) as server,
    ):
        os.environ |= {
            f"{PREFIX}ALLOWED_PRIVATE_NETWORKS": json.dumps([LOOPBACK]),
            f"{PREFIX}ALLOWED_PRIVATE_PORTS": json.dumps([str(server.port)]),
            f"{PREFIX}EXTRA_CA_FILE": str(authority.file),
            _ORIGINS: f"{server.url} {server.plain_url}",
        }
        yield server


def create_demo_app() -> Quart:
    """Return the application, whose pages lead browsers to the demonstration's server."""
    app = create_app()
    lead_browsers(app, *os.environ[_ORIGINS].split())
    return app


def lead_browsers(app: Quart, with_tls: str, without_tls: str) -> None:
    """Replace the origin of the page where users authorize an application.

    Browsers are redirected there; programs get its address from the JSON API.
    """
    page, replacement = f"{with_tls}{_PAGE}", f"{without_tls}{_PAGE}"

    async def replace(response: Response) -> Response:
        if response.location is not None:
            response.location = response.location.replace(page, replacement)
        if response.mimetype == "application/json":
            text = await response.get_data(as_text=True)
            if page in text:
                response.set_data(text.replace(page, replacement))
        return response

    app.after_request(replace)
