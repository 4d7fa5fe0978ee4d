"""Servers that mean harm, or are broken: each answers every request in one way.

An answer is an iterator of the bytes that are written, from the status line on. After them the
connection is closed; an OSError resets it.
"""

import asyncio
import gzip
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager

from standins.certificates import CertificateAuthority
from standins.listener import Listener
from standins.loop_thread import LoopThread

Answer = Callable[[str, str], AsyncIterator[bytes]]
"""Of the request's host and path."""

_MIB = 2**20
_FOREVER = 2**62
METADATA_ADDRESS = "http://169.254.169.254/latest/meta-data/"


def _head(status: str = "200 OK", content_type: str = "application/json", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def _always(head: bytes, body: bytes = b"") -> Answer:
    """Answer with this, and a length that is right."""

    async def answer(_host: str, _path: str) -> AsyncIterator[bytes]:
        yield head.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % len(body)) + body

    return answer


def _redirect(status: str, location: str) -> Answer:
    return _always(_head(status, Location=location))


async def _silent(_host: str, _path: str) -> AsyncIterator[bytes]:
    await asyncio.sleep(_FOREVER)
    yield b""


async def _dripping(_host: str, _path: str) -> AsyncIterator[bytes]:
    """A header's byte now and then: no time limit for a single read is ever met."""
    yield b"HTTP/1.1 200 OK\r\nX-Slow: "
    while True:
        await asyncio.sleep(0.05)
        yield b"x"


async def _dripping_body(_host: str, _path: str) -> AsyncIterator[bytes]:
    yield _head(Content_Length=str(_MIB)) + b"{"
    while True:
        await asyncio.sleep(0.05)
        yield b" "


async def _endless(_host: str, _path: str) -> AsyncIterator[bytes]:
    yield _head(Transfer_Encoding="chunked")
    while True:
        yield b"400\r\n" + b" " * 1024 + b"\r\n"


async def _endless_headers(_host: str, _path: str) -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"X-Header: " + b"x" * 1024 + b"\r\n"


async def _endless_continue(_host: str, _path: str) -> AsyncIterator[bytes]:
    while True:
        yield b"HTTP/1.1 100 Continue\r\n\r\n"


async def _reset(_host: str, _path: str) -> AsyncIterator[bytes]:
    raise ConnectionResetError
    yield b""


async def _reset_in_body(_host: str, _path: str) -> AsyncIterator[bytes]:
    yield _head(Content_Length=str(_MIB)) + b'{"links": ['
    raise ConnectionResetError


async def _cut_short(_host: str, _path: str) -> AsyncIterator[bytes]:
    yield _head(Content_Length="1000") + b"{}"


async def _lying(host: str, path: str) -> AsyncIterator[bytes]:
    """Claim to be another server, and send the client there with its secrets."""
    other = "https://mastodon.social"
    answers: dict[str, object] = {
        "/.well-known/nodeinfo": {
            "links": [
                {
                    "rel": "http://nodeinfo.diaspora.software/ns/schema/2.0",
                    "href": f"{other}/nodeinfo/2.0",
                }
            ]
        },
        "/.well-known/oauth-authorization-server": {
            "issuer": other,
            "authorization_endpoint": f"{other}/oauth/authorize",
            "token_endpoint": METADATA_ADDRESS,
            "app_registration_endpoint": f"{other}/api/v1/apps",
            "revocation_endpoint": "https://evil.example/revoke",
            "scopes_supported": ["read", "profile"],
        },
        "/api/v1/instance": {"uri": "mastodon.social", "title": "Mastodon", "version": "4.5.0"},
        "/api/v1/apps": {"client_id": "id", "client_secret": "secret", "redirect_uri": other},
        "/oauth/token": {"access_token": "token", "token_type": "Bearer", "scope": "admin"},
        "/api/v1/accounts/verify_credentials": {
            "id": "1",
            "username": "admin",
            "acct": "admin@mastodon.social",
            "display_name": "<b>Admin</b>",
            "url": "javascript:alert(1)",
            "avatar": METADATA_ADDRESS,
            "avatar_static": f"https://{host}/../../etc/passwd",
        },
    }
    body = json.dumps(answers.get(path, {})).encode()
    yield _head("200 OK" if path in answers else "404 Not Found", Content_Length=str(len(body)))
    yield body


HOSTILE: dict[str, Answer] = {
    "silent": _silent,
    "dripping": _dripping,
    "dripping-body": _dripping_body,
    "huge": _always(_head(), b'{"links": []' + b" " * 4 * _MIB + b"}"),
    "bomb": _always(
        _head(Content_Encoding="gzip"), gzip.compress(b'{"links": []' + b" " * 32 * _MIB + b"}")
    ),
    "endless": _endless,
    "endless-headers": _endless_headers,
    "endless-continue": _endless_continue,
    "redirects-to-metadata": _redirect("302 Found", METADATA_ADDRESS),
    "redirects-to-loopback": _redirect("307 Temporary Redirect", "https://127.0.0.1/"),
    "redirects-to-file": _redirect("301 Moved Permanently", "file:///etc/passwd"),
    "redirects-to-itself": _redirect("308 Permanent Redirect", "/"),
    "html": _always(_head(content_type="text/html"), b"<!doctype html><h1>Welcome</h1>"),
    "html-as-json": _always(_head(), b"<!doctype html><h1>Welcome</h1>"),
    "json-as-html": _always(_head(content_type="text/html"), b'{"links": []}'),
    "deep": _always(_head(), b"[" * 60_000),
    "long-number": _always(_head(), b'{"links": ' + b"9" * 60_000 + b"}"),
    "not-utf-8": _always(_head(), b'{"links": "\xff\xfe"}'),
    "nothing": _always(_head("204 No Content")),
    "list": _always(_head(), b"[null, 1]"),
    "error": _always(_head("500 Internal Server Error", "text/html"), b"<h1>Oops</h1>"),
    "no-http": _always(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "resets": _reset,
    "resets-in-body": _reset_in_body,
    "cut-short": _cut_short,
    "lying": _lying,
}


class HostileServer(Listener):
    """Answers so, and counts by path what it is asked."""

    def __init__(self, how: Answer, thread: LoopThread, context: ssl.SSLContext | None) -> None:
        super().__init__(thread, context)
        self._how = how
        self.requests: Counter[str] = Counter()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read the head of one request, and answer."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return
        path = head.split(" ", 2)[1].partition("?")[0]
        self.requests[path] += 1
        async for piece in self._how(self.host, path):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)  # an endless answer must let the loop see that the client left
            if writer.is_closing() or reader.at_eof():
                return


@contextmanager
def hostile_servers(
    thread: LoopThread, authority: CertificateAuthority
) -> Iterator[dict[str, HostileServer]]:
    """Serve each of them until the block ends."""
    context = authority.certificate("localhost").context()
    contexts = {
        "expired": authority.certificate("localhost", is_expired=True).context(),
        "other-name": authority.certificate("mastodon.social").context(),
        "plain-http": None,
    }
    servers = {name: HostileServer(how, thread, context) for name, how in HOSTILE.items()} | {
        name: HostileServer(_silent, thread, context) for name, context in contexts.items()
    }
    with ExitStack() as stack:
        for server in servers.values():
            server.start()
            stack.callback(server.close)
        yield servers
