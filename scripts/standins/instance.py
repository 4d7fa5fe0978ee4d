"""What anybody may ask a stand-in: what it is, its metadata, and pictures."""

import struct
import zlib

from quart import Blueprint, Response, abort, jsonify

from standins.answers import origin, software, stand_in
from standins.software import Pkce

routes = Blueprint("instance", __name__)

_SCHEMA = "http://nodeinfo.diaspora.software/ns/schema/2.0"


@routes.get("/.well-known/nodeinfo")
async def nodeinfo_links() -> Response:
    """Say where the NodeInfo document is (https://nodeinfo.diaspora.software/protocol)."""
    href = f"{origin()}{software().nodeinfo_path}"
    return jsonify({"links": [{"rel": _SCHEMA, "href": href}]})


@routes.get("/nodeinfo/2.0")
@routes.get("/nodeinfo/2.0.json")
@routes.get("/api/nodeinfo/2.0.json")
async def nodeinfo() -> Response:
    """Say which software this is."""
    return jsonify(
        {
            "version": "2.0",
            "software": {"name": software().name, "version": software().version},
            "protocols": ["activitypub"],
            "services": {"inbound": [], "outbound": []},
            "usage": {"users": {"total": len(stand_in().users)}, "localPosts": 0},
            "openRegistrations": False,
            "metadata": {},
        }
    )


@routes.get("/api/v1/instance")
async def instance_v1() -> Response:
    """Describe the server as clients before Mastodon 4 ask for it."""
    host = origin().removeprefix("https://")
    version = software().version
    if software().name != "mastodon":
        version = f"4.2.0 (compatible; {software().name} {version})"
    return jsonify({"uri": host, "title": software().name.title(), "version": version})


@routes.get("/api/v2/instance")
async def instance_v2() -> Response:
    """Describe the server; only Mastodon, GoToSocial and Akkoma have this."""
    if software().name not in {"mastodon", "gotosocial", "akkoma"}:
        abort(404)
    host = origin().removeprefix("https://")
    return jsonify(
        {
            "domain": host,
            "title": software().name.title(),
            "version": software().version,
            "source_url": f"https://source.example/{software().name}",
        }
    )


@routes.get("/.well-known/oauth-authorization-server")
async def metadata() -> Response:
    """Describe the OAuth server (RFC 8414); Mastodon's issuer ends with a slash."""
    if not software().has_metadata:
        abort(404)
    slash = "/" if software().name == "mastodon" else ""
    return jsonify(
        {
            "issuer": f"{origin()}{slash}",
            "authorization_endpoint": f"{origin()}/oauth/authorize",
            "token_endpoint": f"{origin()}/oauth/token",
            "revocation_endpoint": f"{origin()}/oauth/revoke",
            "app_registration_endpoint": f"{origin()}/api/v1/apps",
            "scopes_supported": list(software().scopes),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"]
            if software().pkce is Pkce.S256_ONLY
            else [],
        }
    )


@routes.get("/avatars/<username>.png")
async def avatar(username: str) -> Response:
    """Show a picture of one colour, which the name decides."""
    return Response(png_of(username), content_type="image/png")


def png_of(username: str, size: int = 96) -> bytes:
    """Return a PNG picture of one colour (https://www.w3.org/TR/png-3/)."""
    colour = zlib.crc32(username.encode()).to_bytes(4, "big")[:3]
    pixels = (b"\0" + colour * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
