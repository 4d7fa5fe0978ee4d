"""Notes on settings that don't fit how the application is deployed: in the log, and on /readyz.

Each note is made once in a process. Its sentence has no text of a request, because anybody can read
/readyz; the line in the log has some. Requests are compared until WATCHED_REQUESTS have come.
Later ones cost one comparison.
"""

import logging
from ipaddress import ip_address
from typing import Final, cast

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPScope,
    Scope,
)
from quart import current_app

from quart_app.services.audit.addresses import shown_address
from quart_app.text.printable import printable
from quart_app.web.pipeline.origins import origin_of

EXTENSION: Final = "quart_app.deployment"
# Without the probes of load balancers, which don't come by the public address.
WATCHED_REQUESTS: Final = 1000
_PROBES: Final = ("/healthz", "/readyz", "/metrics")
# Two people may share a machine. Three who all come from one address come through a proxy.
USERS_AT_ONE_ADDRESS: Final = 3
_THIS_MACHINE: Final = {"localhost", "127.0.0.1", "::1"}
_LONGEST: Final = 100  # characters of a request that are logged

NOT_TRUSTED: Final = (
    "Requests have X-Forwarded headers, which are ignored because QUART_APP_TRUSTED_PROXIES is 0."
    " If a proxy is in front, set QUART_APP_TRUSTED_PROXIES to the number of proxies."
)
IS_HTTPS: Final = (
    "Requests come by https, but QUART_APP_PUBLIC_URL begins with http://, so cookies are not"
    " Secure. Set QUART_APP_PUBLIC_URL to the address with https."
)
IS_HTTP: Final = (
    "Requests come by http, but QUART_APP_PUBLIC_URL begins with https://. Browsers keep no Secure"
    " cookie there, so nobody can log in. Let the proxy redirect http to https, and send"
    " X-Forwarded-Proto; or set QUART_APP_PUBLIC_URL to the address with http."
)
OTHER_HOST: Final = (
    "Requests come for another host than that of QUART_APP_PUBLIC_URL, where links lead. If it is"
    " this site's, set QUART_APP_PUBLIC_URL to its address. Otherwise, let the proxy refuse it."
)
ONE_ADDRESS: Final = (
    "All users log in from the same private address, probably a proxy's, so they share the limits"
    " of one address. Set QUART_APP_TRUSTED_PROXIES to the number of proxies in front, and let them"
    " send X-Forwarded-For."
)

_log = logging.getLogger("quart_app.deployment")


class DeploymentNotes:
    """An ASGI application that compares requests with the settings, and passes them on."""

    def __init__(self, app: ASGIFramework, *, public_url: str, trusted_proxies: int) -> None:
        self.notes: list[str] = []
        self._app, self._trusted_proxies = app, trusted_proxies
        origin = origin_of(public_url)
        self._is_https = origin is not None and origin.scheme == "https"
        self._host = "" if origin is None else origin.host
        self._requests_left = WATCHED_REQUESTS
        self._own_host = b""  # the last Host header that named the public URL's host
        self._address: str | None = None  # of every login so far
        self._users: set[int] | None = set()  # who logged in there; None when this is over

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Compare, and pass on."""
        if self._requests_left and scope["type"] == "http":
            self._compare(scope)
        await self._app(scope, receive, send)

    def note_login(self, user_id: int, address: str | None) -> None:
        """Look whether all logins come from one address that is not public."""
        if self._users is None:
            return
        shown = shown_address(address) or ""
        if _is_public(shown) or (self._users and shown != self._address):
            self._users = None
            return
        self._address = shown
        self._users.add(user_id)
        if len(self._users) == USERS_AT_ONE_ADDRESS:
            self._users = None
            self._note(ONE_ADDRESS, shown)

    def _compare(self, scope: HTTPScope) -> None:
        host = forwarded = proto = b""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name.startswith(b"x-forwarded-"):
                forwarded = name
                if name == b"x-forwarded-proto":
                    proto = value.rpartition(b",")[2].strip()
        if forwarded and not self._trusted_proxies:
            self._note(NOT_TRUSTED, forwarded.decode("latin1"))
        if scope["path"].removeprefix(scope["root_path"]) in _PROBES:
            return
        self._requests_left -= 1
        if host != self._own_host:
            self._compare_host(host)
        if (scope["scheme"] == "https") != self._is_https:
            self._compare_scheme(scope["scheme"], proto)

    def _compare_scheme(self, scheme: str, proto: bytes) -> None:
        """Note another scheme than the public URL's; http only if a proxy says so."""
        if scheme == "https":
            self._note(IS_HTTPS, "https")
        elif proto == b"http" and self._trusted_proxies:
            self._note(IS_HTTP, "X-Forwarded-Proto: http")

    def _compare_host(self, host: bytes) -> None:
        """Compare the name only: a proxy may not pass on the port."""
        text = host.decode("latin1")
        origin = origin_of(f"http://{text}")
        if origin is not None and _is_same(origin.host, self._host):
            self._own_host = host
        elif text:
            self._note(OTHER_HOST, text)

    def _note(self, sentence: str, seen: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)
            _log.warning("%s (%s)", sentence, printable(seen[:_LONGEST]))


def deployment_notes() -> DeploymentNotes:
    """Return the notes of the current application."""
    return cast(DeploymentNotes, current_app.extensions[EXTENSION])


def _is_same(host: str, other: str) -> bool:
    return host == other or {host, other} <= _THIS_MACHINE


def _is_public(address: str) -> bool:
    try:
        return ip_address(address).is_global
    except ValueError:  # of a Unix socket's client
        return False
