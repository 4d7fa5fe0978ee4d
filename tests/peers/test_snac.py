"""What the real server does, measured: the application relies on it, or is protected from it."""

import ssl
from dataclasses import dataclass

import pytest
from httpx2 import Client as HttpClient

from tests.peers.browser import Stranded, authorize
from tests.peers.client import CALLBACK, Client
from tests.peers.snac import Snac

PAIRS = 4  # of users who authorize at the same time


@dataclass
class SnacClient(Client):
    snac: Snac

    def password_of(self, user: str) -> str:
        return self.snac.passwords[user]

    def username(self, token: object) -> str:
        return str(self.verify(token).json()["username"])


@pytest.fixture
def client(snac: Snac, http: HttpClient, peer_tls: ssl.SSLContext) -> SnacClient:
    return SnacClient(snac.url, peer_tls, http, snac)


def test_an_account_is_connected(client: SnacClient) -> None:
    app = client.register()
    query = client.authorize(app, "alice", state="s-1")
    assert query["state"] == "s-1"
    token = client.exchange(app, query["code"]).json()
    assert set(token) == {"access_token", "token_type", "created_at"}
    account = client.verify(token["access_token"]).json()
    assert (account["username"], account["acct"]) == ("alice", "alice")
    assert account["url"] == f"{client.url}/alice"
    avatar = client.http.get(account["avatar"])
    assert avatar.headers["Content-Type"] == "image/png"


def test_it_is_recognized_by_nodeinfo_alone(client: SnacClient) -> None:
    (link,) = client.get("/.well-known/nodeinfo").json()["links"]
    assert client.http.get(link["href"]).json()["software"]["name"] == "snac"
    for path in ("/.well-known/oauth-authorization-server", "/api/v2/instance"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Content-Type"][:9]) == (404, "text/html")


def exchanged_late(client: SnacClient, alice: dict[str, str], bob: dict[str, str]) -> list[str]:
    """Let both authorize, then exchange both codes; return whose accounts alice and bob get."""
    codes = [client.authorize(alice, "alice")["code"], client.authorize(bob, "bob")["code"]]
    answers = [client.exchange(alice, codes[0]), client.exchange(bob, codes[1])]
    return [client.username(answer.json()["access_token"]) for answer in answers]


def test_with_one_app_two_users_get_the_account_of_the_last(client: SnacClient) -> None:
    app = client.register()
    pairs = [exchanged_late(client, app, app) for _ in range(PAIRS)]
    assert pairs == [["bob", "bob"]] * PAIRS


def test_with_an_app_for_each_attempt_nobody_gets_another_s_account(client: SnacClient) -> None:
    pairs = [exchanged_late(client, client.register(), client.register()) for _ in range(PAIRS)]
    assert pairs == [["alice", "bob"]] * PAIRS


def test_a_code_is_never_compared(client: SnacClient) -> None:
    app = client.register()
    client.authorize(app, "alice")
    for code in ("made up", "made up"):
        answer = client.exchange(app, code, code_verifier="wrong", redirect_uri="https://x.example")
        assert client.username(answer.json()["access_token"]) == "alice"
    unused = client.register()
    token = client.exchange(unused, "made up").json()["access_token"]
    assert client.verify(token).status_code == 422  # it is nobody's


def test_the_browser_is_sent_to_any_address(client: SnacClient) -> None:
    url = client.address(client.register(), redirect_uri="https://evil.example/")
    location = authorize(url, "alice", verify=client.tls, password=client.password_of("alice"))
    assert location.startswith("https://evil.example/?code=")


def test_a_state_with_an_ampersand_comes_back_cut(client: SnacClient) -> None:
    assert client.authorize(client.register(), "alice", state="abc&def")["state"] == "abc"


def test_a_wrong_password_shows_the_form_again(client: SnacClient) -> None:
    url = client.address(client.register())
    with pytest.raises(Stranded, match="LOGIN INCORRECT") as stranded:
        authorize(url, "alice", verify=client.tls, password="wrong")
    assert stranded.value.response.status_code == 200


def test_it_has_no_button_to_deny(client: SnacClient) -> None:
    page = client.http.get(client.address(client.register())).text
    assert page.count('type="submit"') == 1


def test_a_revocation_deletes_the_app_of_everybody(client: SnacClient) -> None:
    app = client.register()
    alice, bob = (
        client.exchange(app, client.authorize(app, user)["code"]).json()["access_token"]
        for user in ("alice", "bob")
    )
    assert client.post("/oauth/revoke", **app, token=alice).status_code == 200
    assert client.verify(alice).status_code == 422
    assert client.username(bob) == "bob"
    with pytest.raises(Stranded, match=r"^400"):
        client.authorize(app, "alice")
    assert client.post("/oauth/revoke", **app, token=bob).status_code == 200
    assert client.verify(bob).status_code == 422


def test_a_deleted_app_is_found_out_by_its_credentials(client: SnacClient) -> None:
    app = client.register()
    credentials = app | {"grant_type": "client_credentials", "redirect_uri": CALLBACK}
    assert client.post("/oauth/token", **credentials).status_code == 200
    client.snac.delete_apps()
    assert client.post("/oauth/token", **credentials).status_code == 401
    with pytest.raises(Stranded, match=r"^400"):
        client.authorize(app, "alice")


def test_refusals_have_no_words(client: SnacClient) -> None:
    app = client.register()
    refused = [
        (422, client.verify("unknown")),
        (401, client.exchange(app | {"client_secret": "wrong"}, "code")),
        (400, client.post("/oauth/token", **app, grant_type="refresh_token", refresh_token="x")),
        (
            400,
            client.http.post(
                f"{client.url}/oauth/token",
                data={"grant_type": "authorization_code", "code": "x", "redirect_uri": CALLBACK},
                auth=(app["client_id"], app["client_secret"]),
            ),
        ),
    ]
    assert [answer.status_code for _, answer in refused] == [status for status, _ in refused]
    assert {answer.text for _, answer in refused} == {""}


def test_a_registration_without_an_address_is_not_found(client: SnacClient) -> None:
    assert client.post("/api/v1/apps", client_name="Test").status_code == 404
