"""Each stand-in answers as its software's documentation says."""

from dataclasses import dataclass

import httpx2
import pytest
from standins.serving import ServedStandIn

from tests.peers.browser import Stranded, authorize
from tests.peers.client import CALLBACK, VERIFIER, Client, query_of
from tests.peers.fixtures import Peers

WITH_OAUTH = [
    *("mastodon-4-2", "mastodon-4-6", "pixelfed", "gotosocial", "akkoma", "takahe", "hollo"),
    "friendica",
]


@dataclass
class StandInClient(Client):
    peer: ServedStandIn


@pytest.fixture
def client(request: pytest.FixtureRequest, peers: Peers, http: httpx2.Client) -> StandInClient:
    peer = peers[request.param]
    return StandInClient(peer.url, peers.tls, http, peer)


def every(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("client", names, indirect=True)


@every(*WITH_OAUTH)
def test_an_account_is_connected_and_its_token_revoked(client: StandInClient) -> None:
    app = client.register()
    query = client.authorize(app, "grace")
    assert query.pop("state") == "s1"
    answer = client.exchange(app, query.pop("code"))
    assert answer.status_code == 200, answer.text
    assert query == {}
    token = answer.json()["access_token"]
    account = client.verify(token).json()
    assert (account["acct"], account["display_name"]) == ("grace", "Grace Hopper")
    avatar = client.http.get(account["avatar"])
    assert avatar.headers["Content-Type"] == "image/png"
    assert avatar.content.startswith(b"\x89PNG")
    revoked = client.post("/oauth/revoke", **app, token=token)
    if client.peer.records.software.has_revocation:
        assert revoked.status_code == 200
        assert client.verify(token).status_code in {400, 401, 403}
    else:
        assert revoked.status_code == 404


@every(*WITH_OAUTH, "pixelfed-without-oauth")
def test_nodeinfo_names_the_software(client: StandInClient) -> None:
    (link,) = client.get("/.well-known/nodeinfo").json()["links"]
    software = client.http.get(link["href"]).json()["software"]
    assert software["name"] == client.peer.records.software.name
    assert client.get("/api/v1/instance").json()["uri"] == client.peer.host


@every(*WITH_OAUTH)
def test_a_code_is_used_once_and_by_its_own_app(client: StandInClient) -> None:
    app = client.register()
    other = client.register()
    code = client.authorize(app)["code"]
    refusal = client.peer.records.software.invalid_code.status
    assert client.exchange(other, code).status_code == refusal
    assert client.exchange(app, code, redirect_uri="https://evil.example/").status_code == refusal
    assert client.exchange(app, code).status_code == 200
    assert client.exchange(app, code).status_code == refusal


@every(*WITH_OAUTH)
def test_two_users_of_one_app_get_their_own_accounts(client: StandInClient) -> None:
    app = client.register()
    codes = {user: client.authorize(app, user)["code"] for user in ("ada", "grace")}
    for user, code in codes.items():
        token = client.exchange(app, code).json()["access_token"]
        assert client.verify(token).json()["username"] == user


@every("mastodon-4-6", "pixelfed", "hollo")
def test_the_verifier_is_checked(client: StandInClient) -> None:
    app = client.register()
    code = client.authorize(app)["code"]
    assert client.exchange(app, code, code_verifier="x" * 43).status_code == 400
    assert client.exchange(app, code, code_verifier=VERIFIER).status_code == 200


@every("mastodon-4-2", "gotosocial", "akkoma", "takahe", "friendica")
def test_an_older_server_takes_no_notice_of_the_verifier(client: StandInClient) -> None:
    app = client.register()
    code = client.authorize(app)["code"]
    assert client.exchange(app, code, code_verifier="x" * 43).status_code == 200


@every("mastodon-4-6", "hollo")
def test_only_s256_is_taken(client: StandInClient) -> None:
    app = client.register()
    with pytest.raises(Stranded, match="S256"):
        client.authorize(app, code_challenge=VERIFIER, code_challenge_method="plain")


@every("mastodon-4-2", "mastodon-4-6", "pixelfed", "gotosocial", "hollo")
def test_a_denial_leads_back(client: StandInClient) -> None:
    url = client.address(client.register())
    query = query_of(authorize(url, "ada", verify=client.tls, allow=False))
    assert query["error"] == "access_denied"
    assert "code" not in query
    assert query.get("state") == (None if client.peer.records.software.name == "hollo" else "s1")


@every("takahe", "friendica", "akkoma")
def test_some_servers_have_no_button_to_deny(client: StandInClient) -> None:
    assert "deny" not in client.http.get(client.address(client.register())).text


@every("takahe")
def test_a_state_with_an_ampersand_comes_back_cut(client: StandInClient) -> None:
    assert client.authorize(client.register(), state="abc&def")["state"] == "abc"


@every("mastodon-4-2", "friendica")
def test_an_unknown_scope_is_refused_at_the_registration(client: StandInClient) -> None:
    scope = "profile" if client.peer.records.software.name == "mastodon" else "read:accounts"
    answer = client.post("/api/v1/apps", client_name="T", redirect_uris=CALLBACK, scopes=scope)
    assert answer.status_code == 422
    assert "Scopes" in answer.json()["error"]


@every("pixelfed")
def test_pixelfed_refuses_a_scope_by_a_redirect(client: StandInClient) -> None:
    app = client.register("read:accounts")
    query = client.authorize(app, scope="read:accounts")
    assert (query["error"], query["state"]) == ("invalid_scope", "s1")


@every("gotosocial", "akkoma")
def test_a_refused_scope_may_leave_the_user_on_the_server_s_page(client: StandInClient) -> None:
    app = client.register("read")
    with pytest.raises(Stranded, match="invalid_scope"):
        client.authorize(app, scope="read write")


@every("takahe")
def test_takahe_grants_a_scope_that_lets_nobody_in(client: StandInClient) -> None:
    app = client.register("read:accounts")
    token = client.token(app, scope="read:accounts")
    assert client.verify(token["access_token"]).status_code == 403
    assert client.verify(client.token(app, scope="read")["access_token"]).status_code == 200


@every("mastodon-4-6", "hollo")
def test_metadata_is_of_the_same_origin(client: StandInClient) -> None:
    metadata = client.get("/.well-known/oauth-authorization-server").json()
    assert metadata["issuer"].rstrip("/") == client.peer.url
    assert metadata["token_endpoint"] == f"{client.peer.url}/oauth/token"
    assert "profile" in metadata["scopes_supported"]
    app = client.register("profile")
    assert client.verify(client.token(app, scope="profile")["access_token"]).status_code == 200


@every("mastodon-4-2", "pixelfed", "gotosocial", "akkoma", "takahe", "friendica")
def test_older_servers_have_no_metadata(client: StandInClient) -> None:
    answer = client.get("/.well-known/oauth-authorization-server")
    assert (answer.status_code, answer.headers["Content-Type"][:9]) == (404, "text/html")


@every(*WITH_OAUTH)
def test_an_app_is_checked_by_its_own_credentials(client: StandInClient) -> None:
    app = client.register()
    credentials = app | {"grant_type": "client_credentials", "scope": "read"}
    software = client.peer.records.software
    known = client.post("/oauth/token", **credentials)
    assert known.status_code == (200 if software.has_client_credentials else 400)
    client.peer.records.delete_apps()
    gone = client.post("/oauth/token", **credentials)
    assert gone.status_code == software.unknown_client.status
    with pytest.raises(Stranded, match="unknown client"):
        client.authorize(app)


@every("takahe")
def test_takahe_says_in_words_that_a_token_is_revoked(client: StandInClient) -> None:
    token = client.token(client.register())["access_token"]
    client.peer.records.revoke("ada")
    answer = client.verify(token)
    assert (answer.status_code, answer.text) == (400, "Invalid Bearer token")


@every("pixelfed", "akkoma")
def test_a_refresh_token_is_used_once(client: StandInClient) -> None:
    app = client.register()
    token = client.token(app)
    assert token["expires_in"] == client.peer.records.software.lifetime_seconds
    fields = app | {
        "grant_type": "refresh_token",
        "refresh_token": str(token["refresh_token"]),
    }
    refreshed = client.post("/oauth/token", **fields).json()
    assert client.verify(refreshed["access_token"]).status_code == 200
    assert client.verify(token["access_token"]).status_code in {401, 403}
    assert client.post("/oauth/token", **fields).status_code == 400


@every("pixelfed", "pixelfed-without-oauth")
def test_a_personal_token_of_pixelfed_is_long_and_expires(client: StandInClient) -> None:
    token = client.peer.records.personal_token("ada")
    assert len(token) > 900
    assert client.verify(token).json()["username"] == "ada"
    client.peer.records.tokens[token].expires_at = 0
    assert client.verify(token).status_code == 401


@every("pixelfed-without-oauth")
def test_pixelfed_without_oauth_registers_nothing(client: StandInClient) -> None:
    answer = client.post("/api/v1/apps", client_name="Test", redirect_uris=CALLBACK)
    assert answer.status_code == 403


@every("mastodon-4-2")
def test_a_registration_as_json_is_refused(client: StandInClient) -> None:
    body = {"client_name": "Test", "redirect_uris": CALLBACK}
    assert client.http.post(f"{client.peer.url}/api/v1/apps", json=body).status_code == 422


@every("mastodon-4-6")
def test_a_test_can_change_and_stop_a_server(client: StandInClient) -> None:
    app, records = client.register(), client.peer.records
    assert records.requests["POST /api/v1/apps"] == 1
    records.token_overrides = {"scope": ..., "expires_in": None}
    token = client.token(app)
    assert "scope" not in token
    assert token["expires_in"] is None
    records.user("ada").moved_to = "ada@new.example"
    account = client.verify(token["access_token"]).json()
    assert account["moved"]["url"] == "https://new.example/@ada"
    records.user("ada").is_disabled = True
    assert client.verify(token["access_token"]).status_code == 403
    records.answer("/oauth/token", 200, "<h1>Maintenance</h1>")
    assert client.post("/oauth/token").text == "<h1>Maintenance</h1>"
    records.recover()
    assert client.post("/oauth/token").status_code == 401
    client.peer.stop()
    with pytest.raises(httpx2.TransportError):
        client.get("/api/v1/instance")
    client.peer.start()
    assert client.get("/api/v1/instance").status_code == 200


@every("mastodon-4-6")
def test_clients_without_its_certificate_authority_do_not_trust_a_peer(
    client: StandInClient,
) -> None:
    with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate"):
        httpx2.get(client.peer.url)
