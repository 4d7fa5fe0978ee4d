"""Recognition of a server: its software, by NodeInfo or the API, and its OAuth endpoints."""

import asyncio
import re
from contextlib import suppress
from typing import Any, Final

import httpx2

from quart_app.fediverse.answers import identifier, short_text
from quart_app.fediverse.errors import ServerError, ServerNotSupported
from quart_app.fediverse.requests import Requests
from quart_app.fediverse.server_names import is_at
from quart_app.fediverse.types import UNKNOWN_SOFTWARE, Instance, Software

# The relations of NodeInfo's schemas end in their versions (nodeinfo.diaspora.software).
_SCHEMA: Final = re.compile(r"https?://nodeinfo\.diaspora\.software/ns/schema/(\d)\.(\d)")
_SOFTWARE_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")
_LONGEST_NAME: Final = 64
_LONGEST_VERSION: Final = 64
_MOST_SCOPES: Final = 500
_INSTANCE_PATHS: Final = ("/api/v2/instance", "/api/v1/instance")
_METADATA_PATH: Final = "/.well-known/oauth-authorization-server"


async def recognize(requests: Requests, server: str) -> Instance:
    """Return what is at `server`, after two round trips for most of them.

    Raises ServerNotSupported where nothing there has Mastodon's API.
    """
    software, metadata = await asyncio.gather(
        _software(requests, server), _metadata(requests, server), return_exceptions=True
    )
    if isinstance(software, BaseException):
        raise software
    if isinstance(metadata, BaseException):
        raise metadata
    scopes = metadata.get("scopes_supported")
    return Instance(
        host=server,
        software=software,
        authorization_endpoint=_endpoint(metadata, "authorization", server, "/oauth/authorize"),
        token_endpoint=_endpoint(metadata, "token", server, "/oauth/token"),
        revocation_endpoint=_endpoint(metadata, "revocation", server, "/oauth/revoke"),
        scopes_supported=frozenset(
            scope for scope in scopes[:_MOST_SCOPES] if isinstance(scope, str)
        )
        if isinstance(scopes, list)
        else None,
    )


async def _software(requests: Requests, server: str) -> Software:
    try:
        software = await _from_nodeinfo(requests, server)
    except ServerNotSupported as error:
        if type(error) is not ServerNotSupported:  # it has moved
            raise
        software = Software()
    if not software.binds_codes:  # not known to have the API
        await _look_for_api(requests, server)
    return software


async def _from_nodeinfo(requests: Requests, server: str) -> Software:
    """Return the software by its NodeInfo document. Raises ServerNotSupported without one."""
    links = (await requests.get_object(server, "/.well-known/nodeinfo")).get("links")
    found = {}
    for link in links if isinstance(links, list) else []:
        if not isinstance(link, dict) or not is_at(server, link.get("href")):
            continue
        if schema := _SCHEMA.fullmatch(str(link.get("rel"))):
            found[schema.groups()] = str(link["href"])
    if not found:
        raise ServerNotSupported(server)
    path = httpx2.URL(found[max(found)]).raw_path.decode("ascii")
    described = (await requests.get_object(server, path)).get("software")
    if not isinstance(described, dict):
        raise ServerNotSupported(server)
    name = identifier(described.get("name"), _LONGEST_NAME) or ""
    return Software(
        name.lower() if _SOFTWARE_NAME.fullmatch(name) else UNKNOWN_SOFTWARE,
        short_text(described.get("version"), _LONGEST_VERSION) or None,
    )


async def _look_for_api(requests: Requests, server: str) -> None:
    """Raise ServerNotSupported unless the server describes itself by Mastodon's API."""
    for path in _INSTANCE_PATHS:
        with suppress(ServerNotSupported):
            described = await requests.get_object(server, path)
            if isinstance(described.get("title"), str):
                return
    raise ServerNotSupported(server)


async def _metadata(requests: Requests, server: str) -> dict[str, Any]:
    """Return the OAuth metadata (RFC 8414); empty without any, or with another server's."""
    try:
        metadata = await requests.get_object(server, _METADATA_PATH)
    except ServerError:
        return {}
    return metadata if is_at(server, metadata.get("issuer")) else {}


def _endpoint(metadata: dict[str, Any], name: str, server: str, default_path: str) -> str:
    given = metadata.get(f"{name}_endpoint")
    return str(given) if is_at(server, given) else f"https://{server}{default_path}"
