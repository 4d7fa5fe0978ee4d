"""Recognition, OAuth and accounts, at servers that keep to no grammar."""

import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from standins.certificates import CertificateAuthority

from quart_app.fediverse.errors import (
    AppRefused,
    CodeRefused,
    InvalidScope,
    ServerError,
    ServerFailed,
    ServerMoved,
    ServerNotSupported,
    TokenRefused,
)
from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.scopes import scopes_to_try
from quart_app.fediverse.types import App, Grant, Instance, RemoteAccount, Software
from tests.tls_servers import (
    Answer,
    Request,
    TlsServer,
    client,
    resolving,
    routes,
    tls_server,
)

APP = App("our-id", "canary-secret")
MISSING = Answer(b"<h1>Not found</h1>", HTTPStatus.NOT_FOUND, "text/html")
GRANTED = {"access_token": "canary-token"}


class Peer:
    """A server whose answers a test sets path by path."""

    def __init__(self) -> None:
        self.paths: dict[str, Answer] = {}
        self.seen: list[Request] = []
        self.server = TlsServer(0)

    @property
    def host(self) -> str:
        return self.server.host

    @property
    def instance(self) -> Instance:
        at = f"https://{self.host}/oauth"
        return Instance(self.host, Software(), f"{at}/authorize", f"{at}/token", f"{at}/revoke")

    def is_software(self, name: Any, version: Any = "4.3.0") -> None:
        self.links([f"https://{self.host}/nodeinfo/2.0"])
        self.paths["/nodeinfo/2.0"] = Answer({"software": {"name": name, "version": version}})

    def links(self, hrefs: list[Any]) -> None:
        rel = "http://nodeinfo.diaspora.software/ns/schema/2.0"
        links = [{"rel": rel, "href": href} for href in hrefs]
        self.paths["/.well-known/nodeinfo"] = Answer({"links": links})

    def metadata(self, **fields: Any) -> None:
        given = {"issuer": f"https://{self.host}/", **fields}
        self.paths["/.well-known/oauth-authorization-server"] = Answer(given)


@pytest.fixture
def authority(peer_authority: CertificateAuthority) -> CertificateAuthority:
    return peer_authority


@pytest.fixture
async def fediverse(authority: CertificateAuthority) -> AsyncIterator[Fediverse]:
    async with client(authority.file) as made:
        yield made


@pytest.fixture
async def peer(authority: CertificateAuthority) -> AsyncIterator[Peer]:
    made = Peer()
    async with tls_server(authority, routes(made.paths, made.seen)) as made.server:
        yield made


@pytest.fixture(autouse=True)
def no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test of this file does, at the most talkative level."""
    caplog.set_level(logging.DEBUG)
    yield
    assert "canary" not in caplog.text


async def exchange(fediverse: Fediverse, peer: Peer) -> Grant:
    return await fediverse.exchange_code(
        peer.instance,
        APP,
        code="canary-code",
        redirect_uri="https://we.example/back",
        code_verifier="canary-verifier-" + 43 * "v",
    )


# Recognition


@pytest.mark.parametrize(
    ("given", "software"),
    [
        (("mastodon", "4.2.1"), Software("mastodon", "4.2.1")),
        (("Pixelfed", "0.12"), Software("pixelfed", "0.12")),
        (("gotosocial", None), Software("gotosocial", None)),
        (("takahe", 7), Software("takahe", None)),
        (("akkoma", "3\u202e\n" + 100 * "1"), Software("akkoma", "3" + 63 * "1")),
    ],
)
async def test_software_is_named_by_nodeinfo(
    fediverse: Fediverse, peer: Peer, given: tuple[Any, Any], software: Software
) -> None:
    peer.is_software(*given)
    instance = await fediverse.recognize(peer.host)
    assert (instance.host, instance.software) == (peer.host, software)
    assert instance.software.binds_codes
    assert instance.token_endpoint == f"https://{peer.host}/oauth/token"
    assert instance.scopes_supported is None
    assert len(peer.seen) == 3  # one of them beside the other two


@pytest.mark.parametrize(
    ("name", "known_as"),
    [
        ("snac", "snac"),
        ("Friendica", "friendica"),
        ("two words", "unknown"),
        ("a" * 65, "unknown"),
        (None, "unknown"),
        (["snac"], "unknown"),
        ("", "unknown"),
    ],
)
async def test_software_that_is_not_known_is_asked_for_the_api(
    fediverse: Fediverse, peer: Peer, name: Any, known_as: str
) -> None:
    peer.is_software(name)
    with pytest.raises(ServerNotSupported):
        await fediverse.recognize(peer.host)
    peer.paths["/api/v1/instance"] = Answer({"title": "Here", "version": "4.3.0"})
    software = (await fediverse.recognize(peer.host)).software
    assert software.name == known_as
    assert not software.binds_codes


async def test_without_nodeinfo_the_api_is_enough_and_no_version_is_believed(
    fediverse: Fediverse, peer: Peer
) -> None:
    described = {"title": "Here", "version": "4.3.0 (compatible; Mastodon 4.3.0)"}
    peer.paths["/api/v2/instance"] = Answer(described)
    assert (await fediverse.recognize(peer.host)).software == Software("unknown", None)


@pytest.mark.parametrize(
    "links",
    [
        None,
        [],
        ["https://other.example/nodeinfo"],
        ["http://fedi.example/nodeinfo"],
        [None, 7, {}],
        ["https://["],
    ],
)
async def test_a_link_to_another_server_is_not_followed(
    fediverse: Fediverse, peer: Peer, links: list[Any] | None
) -> None:
    if links is None:
        peer.paths["/.well-known/nodeinfo"] = Answer({"links": "none"})
    else:
        peer.links(links)
    peer.paths["/api/v1/instance"] = Answer({"title": "Here"})
    assert (await fediverse.recognize(peer.host)).software == Software()


async def test_a_site_that_is_no_such_server_is_a_sentence(
    fediverse: Fediverse, peer: Peer
) -> None:
    for path in ("/.well-known/nodeinfo", "/api/v1/instance", "/api/v2/instance"):
        peer.paths[path] = Answer(b"<h1>Hello</h1>", content_type="text/html")
    with pytest.raises(ServerNotSupported) as refused:
        await fediverse.recognize(peer.host)
    assert refused.value.sentence == (
        f"{peer.host} doesn't answer like a Mastodon or Pixelfed server. Check its address."
    )


async def test_a_server_that_has_moved_or_fails_is_said_so(
    fediverse: Fediverse, peer: Peer
) -> None:
    moved = {"Location": "https://social.example/.well-known/nodeinfo"}
    peer.paths["/.well-known/nodeinfo"] = Answer(b"", HTTPStatus.FOUND, headers=moved)
    with pytest.raises(ServerMoved, match=r"social\.example"):
        await fediverse.recognize(peer.host)
    peer.paths["/.well-known/nodeinfo"] = Answer({}, HTTPStatus.INTERNAL_SERVER_ERROR)
    with pytest.raises(ServerFailed):
        await fediverse.recognize(peer.host)


async def test_metadata_of_the_same_origin_is_used(fediverse: Fediverse, peer: Peer) -> None:
    peer.is_software("mastodon")
    peer.metadata(
        authorization_endpoint=f"https://{peer.host}/a",
        token_endpoint=f"https://{peer.host}/t",
        revocation_endpoint="https://other.example/r",
        scopes_supported=["read", "profile", 7, None],
    )
    instance = await fediverse.recognize(peer.host)
    assert instance.authorization_endpoint == f"https://{peer.host}/a"
    assert instance.token_endpoint == f"https://{peer.host}/t"
    assert instance.revocation_endpoint == f"https://{peer.host}/oauth/revoke"
    assert instance.scopes_supported == frozenset({"read", "profile"})


@pytest.mark.parametrize(
    "answer",
    [
        MISSING,
        Answer({"issuer": "https://other.example", "scopes_supported": ["profile"]}),
        Answer({"scopes_supported": ["profile"]}),
        Answer(b'{"scopes_supported": ["profile"]}', content_type="text/html"),
        Answer(["profile"]),
        Answer({}, HTTPStatus.INTERNAL_SERVER_ERROR),
        Answer(b"", HTTPStatus.FOUND, headers={"Location": "https://other.example/"}),
    ],
)
async def test_other_metadata_is_ignored(fediverse: Fediverse, peer: Peer, answer: Answer) -> None:
    peer.is_software("mastodon")
    peer.paths["/.well-known/oauth-authorization-server"] = answer
    instance = await fediverse.recognize(peer.host)
    assert instance.scopes_supported is None
    assert instance.token_endpoint == f"https://{peer.host}/oauth/token"


@pytest.mark.parametrize(
    ("software", "supported", "scopes"),
    [
        ("mastodon", {"profile", "read:accounts", "read"}, ("profile", "read:accounts", "read")),
        ("mastodon", {"read:accounts", "read"}, ("read:accounts", "read")),
        ("mastodon", {"read", "write"}, ("read",)),
        ("mastodon", set(), ("read",)),
        ("mastodon", None, ("read:accounts", "read")),
        ("gotosocial", None, ("read:accounts", "read")),
        ("pixelfed", None, ("read",)),
        ("takahe", None, ("read",)),
        ("unknown", None, ("read",)),
    ],
)
def test_the_least_scope_is_tried_first(
    software: str, supported: set[str] | None, scopes: tuple[str, ...]
) -> None:
    known = None if supported is None else frozenset(supported)
    assert scopes_to_try(Instance("a", Software(software), "a", "t", "r", known)) == scopes


# Apps and authorization


async def register(fediverse: Fediverse, peer: Peer) -> App:
    return await fediverse.register_app(
        peer.instance,
        name="We & they",
        website="https://we.example",
        redirect_uri="https://we.example/back?a=1&b=2",
        scope="read:accounts",
    )


async def test_registration_is_a_form_with_one_address(fediverse: Fediverse, peer: Peer) -> None:
    given = {"client_id": 17, "client_secret": "canary-secret", "redirect_uri": "x"}
    peer.paths["/api/v1/apps"] = Answer(given)
    assert await register(fediverse, peer) == App("17", "canary-secret")
    (request,) = peer.seen
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.form == {
        "client_name": "We & they",
        "redirect_uris": "https://we.example/back?a=1&b=2",
        "scopes": "read:accounts",
        "website": "https://we.example",
    }


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer({"error": "scopes"}, 422), InvalidScope),
        (Answer(b"no", 400, "text/plain"), InvalidScope),
        (MISSING, ServerNotSupported),
        (Answer({}, 401), ServerNotSupported),
        (Answer({}), ServerNotSupported),
        (Answer({"client_id": "", "client_secret": "canary"}), ServerNotSupported),
        (Answer({"client_id": ["1"], "client_secret": "canary"}), ServerNotSupported),
        (Answer({"client_id": "1", "client_secret": "canary\n"}), ServerNotSupported),
        (Answer({"client_id": "1", "client_secret": "c" * 4097}), ServerNotSupported),
        (Answer({"client_id": True, "client_secret": "canary"}), ServerNotSupported),
    ],
)
async def test_a_refused_registration_is_an_error(
    fediverse: Fediverse, peer: Peer, answer: Answer, kind: type[ServerError]
) -> None:
    peer.paths["/api/v1/apps"] = answer
    with pytest.raises(ServerError) as refused:
        await register(fediverse, peer)
    assert type(refused.value) is kind


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        (Answer(GRANTED), True),
        (Answer({"error": "invalid_scope"}, 400), True),
        (Answer({"error": "invalid_client"}, 401), False),
        (Answer({"error": "unauthorized_client"}, 400), False),
        (Answer({"error": "unsupported_grant_type"}, 400), True),  # nobody can ask there
        (Answer({"error": "invalid_grant_type"}, 400), True),
        (Answer(b"no", 400, "text/plain"), False),
        (Answer(b"", 401, "text/html"), False),
    ],
)
async def test_an_app_is_known_by_a_token_of_its_own(
    fediverse: Fediverse, peer: Peer, answer: Answer, *, known: bool
) -> None:
    peer.paths["/oauth/token"] = answer
    assert await fediverse.knows_app(peer.instance, APP, scope="profile") is known
    (request,) = peer.seen
    assert request.form == {
        "grant_type": "client_credentials",
        "client_id": "our-id",
        "client_secret": "canary-secret",
        "scope": "profile",
    }
    assert "authorization" not in request.headers


async def test_the_authorization_address_has_a_challenge_and_no_secret(
    fediverse: Fediverse,
) -> None:
    instance = Instance("a.example", Software(), "https://a.example/oauth/authorize?x=1", "t", "r")
    url = await fediverse.authorization_url(
        instance,
        APP,
        redirect_uri="https://we.example/back?a=1&b=2",
        scope="read:accounts",
        state="the-state",
        # RFC 7636 appendix B
        code_verifier="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        language="de",
    )
    assert url.startswith("https://a.example/oauth/authorize?x=1&")
    assert parse_qs(urlsplit(url).query) == {
        "x": ["1"],
        "response_type": ["code"],
        "client_id": ["our-id"],
        "redirect_uri": ["https://we.example/back?a=1&b=2"],
        "scope": ["read:accounts"],
        "state": ["the-state"],
        "code_challenge": ["E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"],
        "code_challenge_method": ["S256"],
        "force_login": ["true"],
        "lang": ["de"],
    }


async def test_a_code_is_exchanged_with_its_verifier(fediverse: Fediverse, peer: Peer) -> None:
    given = {**GRANTED, "token_type": "Bearer", "scope": "read write", "created_at": 1}
    peer.paths["/oauth/token"] = Answer(given)
    assert await exchange(fediverse, peer) == Grant("canary-token", None, "read write", None)
    (request,) = peer.seen
    assert request.form == {
        "grant_type": "authorization_code",
        "client_id": "our-id",
        "client_secret": "canary-secret",
        "code": "canary-code",
        "redirect_uri": "https://we.example/back",
        "code_verifier": "canary-verifier-" + 43 * "v",
    }


@pytest.mark.parametrize(
    ("expires_in", "validity"),
    [
        (7200, timedelta(hours=2)),
        (7200.9, timedelta(hours=2)),
        ("7200", timedelta(hours=2)),
        (0, None),
        (-1, None),
        ("", None),
        ("soon", None),
        ("٣", None),
        ("9" * 5000, None),
        (None, None),
        (True, None),
        ([], None),
        ({}, None),
        (10**100, None),
        (1e300, None),
    ],
)
async def test_a_validity_that_is_none_does_not_break_the_connection(
    fediverse: Fediverse, peer: Peer, expires_in: Any, validity: timedelta | None
) -> None:
    peer.paths["/oauth/token"] = Answer({**GRANTED, "expires_in": expires_in, "expires_at": "x"})
    assert (await exchange(fediverse, peer)).expires_in == validity


@pytest.mark.parametrize(
    ("fields", "scopes", "refresh_token"),
    [
        ({"scope": None, "refresh_token": None}, None, None),
        ({"scope": 7, "refresh_token": 7}, None, "7"),
        ({"scope": "", "refresh_token": ""}, None, None),
        ({"scope": ["read"], "refresh_token": []}, None, None),
        ({"scope": "read\n\x00", "refresh_token": "canary\n"}, "read", None),
        ({"scope": "r" * 5000, "refresh_token": "canary"}, "r" * 1000, "canary"),
        ({"token_type": 7, "error": "ignored"}, None, None),
    ],
)
async def test_other_fields_of_a_grant_may_be_anything(
    fediverse: Fediverse,
    peer: Peer,
    fields: dict[str, Any],
    scopes: str | None,
    refresh_token: str | None,
) -> None:
    peer.paths["/oauth/token"] = Answer({**GRANTED, **fields})
    grant = await exchange(fediverse, peer)
    assert (grant.scopes, grant.refresh_token) == (scopes, refresh_token)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer({"error": "invalid_grant"}, 400), CodeRefused),
        (Answer({"error": "invalid_client"}, 401), AppRefused),
        (Answer({"error": "unauthorized_client"}, 400), AppRefused),
        (Answer({"error": "invalid_scope"}, 400), InvalidScope),
        (Answer({"error": {"code": 7}}, 400), CodeRefused),
        (Answer({"error": "canary " * 1000}, 400), CodeRefused),
        (Answer({}, 401), AppRefused),
        (Answer(b"Token already used", 400, "text/plain"), CodeRefused),
        (Answer({"error": "x"}, 422), CodeRefused),
        (MISSING, ServerNotSupported),
        (Answer(b"<h1>Hello</h1>", 200, "text/html"), ServerNotSupported),
        (Answer({}), ServerNotSupported),
        (Answer({"access_token": ""}), ServerNotSupported),
        (Answer({"access_token": ["canary"]}), ServerNotSupported),
        (Answer({"access_token": "canary\r\nX: y"}), ServerNotSupported),
        (Answer([GRANTED]), ServerNotSupported),
        (Answer({"error": "server_error"}, 500), ServerFailed),
        (Answer(b"", 302, headers={"Location": "https://[::1]/"}), ServerNotSupported),
    ],
)
async def test_a_refused_code_is_an_error_without_secrets(
    fediverse: Fediverse, peer: Peer, answer: Answer, kind: type[ServerError]
) -> None:
    peer.paths["/oauth/token"] = answer
    with pytest.raises(ServerError) as refused:
        await exchange(fediverse, peer)
    assert type(refused.value) is kind
    assert peer.host in refused.value.sentence
    assert "canary" not in f"{refused.value!r} {refused.value} {vars(refused.value)}"
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert len(peer.seen) == 1


async def test_a_refresh_token_is_refreshed_or_refused(fediverse: Fediverse, peer: Peer) -> None:
    peer.paths["/oauth/token"] = Answer({**GRANTED, "expires_in": 60})
    grant = await fediverse.refresh(peer.instance, APP, "canary-refresh")
    assert grant == Grant("canary-token", None, None, timedelta(minutes=1))
    assert peer.seen[0].form["refresh_token"] == "canary-refresh"
    assert peer.seen[0].form["grant_type"] == "refresh_token"
    peer.paths["/oauth/token"] = Answer({"error": "invalid_grant"}, 400)
    with pytest.raises(TokenRefused):
        await fediverse.refresh(peer.instance, APP, "canary-refresh")


async def test_a_revocation_says_what_came_of_it(fediverse: Fediverse, peer: Peer) -> None:
    assert not await fediverse.revoke(peer.instance, APP, "canary-token")
    peer.paths["/oauth/revoke"] = Answer({})
    assert await fediverse.revoke(peer.instance, APP, "canary-token")
    assert peer.seen[-1].form == {
        "token": "canary-token",
        "client_id": "our-id",
        "client_secret": "canary-secret",
    }
    peer.paths["/oauth/revoke"] = Answer({}, 503)
    with pytest.raises(ServerFailed):
        await fediverse.revoke(peer.instance, APP, "canary-token")


async def test_no_endpoint_elsewhere_learns_a_secret(fediverse: Fediverse, peer: Peer) -> None:
    elsewhere = replace(peer.instance, host="other.example")
    with pytest.raises(ServerNotSupported):
        await fediverse.refresh(elsewhere, APP, "canary-refresh")
    with pytest.raises(ServerNotSupported):
        await fediverse.revoke(elsewhere, APP, "canary-token")
    assert peer.seen == []


def test_no_secret_is_in_a_repr() -> None:
    grant = Grant("canary", "canary", "read", None)
    assert "canary" not in f"{APP!r} {App('1', 'canary')} {grant!r} {[grant]}"


# Accounts

VERIFY = "/api/v1/accounts/verify_credentials"


async def test_an_account_is_read_by_its_token(fediverse: Fediverse, peer: Peer) -> None:
    peer.paths[VERIFY] = Answer(
        {
            "id": "110",
            "username": "ada",
            "acct": "ada",
            "display_name": "Ada \u202eL\x00ove\u2028lace\ud800 🌻",
            "url": f"https://{peer.host}/@ada",
            "avatar": "https://cdn.example/a.png",
        }
    )
    account = await fediverse.verify_credentials(peer.host, "canary-token")
    assert account == RemoteAccount(
        id="110",
        username="ada",
        display_name="Ada Lovelace 🌻",
        profile_url=f"https://{peer.host}/@ada",
        avatar_url="https://cdn.example/a.png",
    )
    assert peer.seen[0].headers["authorization"] == "Bearer canary-token"


@pytest.mark.parametrize(
    ("fields", "account"),
    [
        ({"id": 7}, RemoteAccount("7", "ada", "", None, None)),
        ({"display_name": 7, "url": 7, "avatar": {}}, RemoteAccount("1", "ada", "", None, None)),
        ({"display_name": "a" * 9999}, RemoteAccount("1", "ada", "a" * 255, None, None)),
        ({"url": "javascript:alert(1)"}, RemoteAccount("1", "ada", "", None, None)),
        ({"url": "http://a.example/"}, RemoteAccount("1", "ada", "", None, None)),
        ({"url": "https://a.example/" + "a" * 2048}, RemoteAccount("1", "ada", "", None, None)),
        ({"avatar": "https://127.0.0.1/a.png"}, RemoteAccount("1", "ada", "", None, None)),
        ({"avatar": "https://a.example/\ud800"}, RemoteAccount("1", "ada", "", None, None)),
    ],
)
async def test_an_account_is_made_harmless(
    fediverse: Fediverse, peer: Peer, fields: dict[str, Any], account: RemoteAccount
) -> None:
    peer.paths[VERIFY] = Answer({"id": "1", "username": "ada", **fields})
    assert await fediverse.verify_credentials(peer.host, "canary-token") == account


@pytest.mark.parametrize(
    ("acct", "moved_to"),
    [
        ("ada@new.example", "ada@new.example"),
        ("Ada@B\u00dcCHER.example", "Ada@xn--bcher-kva.example"),
        ("ada2", "ada2@{host}"),
        *(("", None), ("@new.example", None), ("ada@", None), ("ada@a b", None), ([], None)),
        *(("a da@new.example", None), ("a\u202ea@new.example", None), ("ada@new..example", None)),
        *(("ada@b@new.example", None), ("a" * 9999, None)),
    ],
)
async def test_an_account_that_moved_names_the_one_that_replaces_it(
    fediverse: Fediverse, peer: Peer, acct: object, moved_to: str | None
) -> None:
    peer.paths[VERIFY] = Answer({"id": "1", "username": "ada", "moved": {"acct": acct}})
    account = await fediverse.verify_credentials(peer.host, "canary-token")
    assert account.moved_to == (moved_to and moved_to.format(host=peer.host))


@pytest.mark.parametrize(
    "fields",
    [
        {"id": None},
        {"id": ""},
        {"id": True},
        {"id": 1.5},
        {"id": ["1"]},
        {"id": "1\n"},
        {"id": "1" * 129},
        {"username": None},
        {"username": ""},
        {"username": "a\u202eda"},
        {"username": "a\u200bda"},
        {"username": "ada@other.example"},
        {"username": "a da"},
        {"username": "../ada"},
        {"username": "a" * 256},
    ],
)
async def test_an_account_without_an_identity_is_none(
    fediverse: Fediverse, peer: Peer, fields: dict[str, Any]
) -> None:
    peer.paths[VERIFY] = Answer({"id": "1", "username": "ada", **fields})
    with pytest.raises(ServerNotSupported):
        await fediverse.verify_credentials(peer.host, "canary-token")


@pytest.mark.parametrize("status", [400, 401, 403, 422])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
async def test_a_refused_token_is_said_so(
    fediverse: Fediverse, peer: Peer, status: int, content_type: str
) -> None:
    peer.paths[VERIFY] = Answer(b'"canary-token"', status, content_type)
    with pytest.raises(TokenRefused) as refused:
        await fediverse.verify_credentials(peer.host, "canary-token")
    assert "canary" not in f"{refused.value!r} {vars(refused.value)}"


@pytest.mark.parametrize(
    "token", ["", "canary\n", "canary\r\nX: y", "canary é", "canary x", "c" * 4097]
)
async def test_a_token_that_no_header_can_carry_is_not_sent(
    fediverse: Fediverse, peer: Peer, token: str
) -> None:
    with pytest.raises(TokenRefused) as refused:
        await fediverse.verify_credentials(peer.host, token)
    assert "canary" not in f"{refused.value!r}"
    assert peer.seen == []


# Avatars

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (16).to_bytes(4, "big") * 2 + bytes(100)


async def test_a_picture_comes_from_another_server(authority: CertificateAuthority) -> None:
    seen: list[Request] = []
    # The wrong type: the bytes say what it is.
    handle = routes({"/a.png": Answer(PNG, content_type="text/html")}, seen)
    async with (
        tls_server(authority, handle, name="cdn.example") as server,
        client(authority.file, resolve=resolving({"cdn.example": ["127.0.0.1"]})) as fediverse,
    ):
        avatar = await fediverse.avatar(f"https://cdn.example:{server.port}/a.png")
    assert avatar is not None
    assert (avatar.content_type, avatar.body) == ("image/png", PNG)
    assert "authorization" not in seen[0].headers
    assert "cookie" not in seen[0].headers


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b'<svg xmlns="http://www.w3.org/2000/svg"/>', content_type="image/svg+xml"),
        Answer(b"<h1>Hello</h1>", content_type="image/png"),
        Answer(PNG + bytes(256 * 1024), content_type="image/png"),
        Answer(PNG, HTTPStatus.NOT_FOUND, "image/png"),
        Answer(PNG, HTTPStatus.FOUND, "image/png", {"Location": "https://a.example/"}),
        Answer(b"", content_type="image/png"),
        MISSING,
    ],
)
async def test_anything_but_a_small_picture_is_none(
    fediverse: Fediverse, peer: Peer, answer: Answer
) -> None:
    peer.paths["/a"] = answer
    assert await fediverse.avatar(f"https://{peer.host}/a") is None
    assert len(peer.seen) == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a",
        "http://fedi.example/a",
        "https://127.0.0.1/a",
        "https://[::1]/",
        "https://[",
        "https://unknown.example/a",
        "file:///etc/passwd",
        "data:image/png;base64,",
        "https://\ud800/",
    ],
)
async def test_only_a_public_https_address_is_fetched(fediverse: Fediverse, url: str) -> None:
    assert await fediverse.avatar(url) is None
