"""Pasted access tokens by the API: verified unless the request says otherwise."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL

from quart_app.model import PlatformAccount
from quart_app.services.platforms.steps.token_expiry import expiry_of
from quart_app.settings import Settings
from tests.conftest import Clock, Member, settings_for
from tests.peers.fixtures import Peers, reaching

pytestmark = pytest.mark.sqlite_unless_thorough


@pytest.fixture
def settings(database_url: URL, running_peers: Peers) -> Settings:
    return reaching(settings_for(database_url), running_peers)


async def post(browser: Client, host: str, token: str, **more: Any) -> tuple[int, Any]:
    body = {"name": "Garden", "platform_type": "pixelfed", "instance_url": host}
    response = await browser.post("/api/platforms", json=body | {"access_token": token} | more)
    return response.status_code, await response.get_json()


def jwt(**claims: object) -> str:
    """Return a token as Pixelfed's settings page makes them."""
    parts = [{"typ": "JWT", "alg": "RS256"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts]
    return ".".join([*(part.rstrip("=") for part in encoded), "c2lnbmF0dXJl"])


async def test_a_token_is_verified_and_the_account_is_known(browser: Client, peers: Peers) -> None:
    peer = peers["mastodon-4-2"]
    status, body = await post(browser, peer.host, f" Bearer {peer.records.personal_token()}\n")
    assert status == 201
    known = {name: body[name] for name in ("username", "display_name", "state", "token_expires_at")}
    assert known == {
        "username": "ada",
        "display_name": "Ada Lovelace",
        "state": "active",
        "token_expires_at": None,
    }
    assert body["checked_at"] is not None
    assert body["expires_soon"] is False


@pytest.mark.parametrize("name", ["mastodon-4-2", "akkoma", "takahe", "pixelfed"])
async def test_a_wrong_token_is_refused_by_its_field(
    browser: Client, peers: Peers, name: str
) -> None:
    status, problem = await post(browser, peers[name].host, "wrong")
    assert (status, problem["field"]) == (422, "access_token")
    assert peers[name].host in problem["title"]


async def test_a_username_of_another_account_is_refused_by_its_field(
    browser: Client, peers: Peers
) -> None:
    peer = peers["mastodon-4-2"]
    token = peer.records.personal_token()
    status, problem = await post(browser, peer.host, token, username="grace")
    assert (status, problem["field"]) == (422, "username")
    assert (await post(browser, peer.host, token, username=f"@Ada@{peer.host}"))[0] == 201


async def test_without_verify_nothing_is_asked_of_the_server(browser: Client, peers: Peers) -> None:
    peer = peers["mastodon-4-2"]
    status, body = await post(browser, peer.host, "wrong", verify=False, username="ada")
    assert (status, body["checked_at"], body["state"]) == (201, None, "active")
    assert peer.records.requests.total() == 0
    tested = await browser.post(f"/api/platforms/{body['id']}/test")
    result = await tested.get_json()
    assert (result["ok"], result["error"]["code"]) == (False, "token_refused")


async def test_a_program_renews_a_token_and_everything_else_stays(
    browser: Client, peers: Peers
) -> None:
    peer = peers["mastodon-4-2"]
    _, before = await post(browser, peer.host, peer.records.personal_token())
    path = f"/api/platforms/{before['id']}"
    peer.records.revoke("ada")
    await browser.post(f"{path}/test")
    await browser.patch(path, json={"is_active": False})
    for user, status, code in (("grace", 409, "other_account_authorized"), ("ada", 200, None)):
        body = {"access_token": f"Bearer {peer.records.personal_token(user)}"}
        response = await browser.post(f"{path}/access_token", json=body)
        answer = await response.get_json()
        assert (response.status_code, answer.get("code")) == (status, code)
    assert (answer["state"], answer["is_active"]) == ("disabled", False)
    await browser.patch(path, json={"is_active": True})
    after = await (await browser.get(path)).get_json()
    assert after == before | {"checked_at": after["checked_at"]}
    assert (await (await browser.post(f"{path}/test")).get_json())["ok"]


async def test_a_token_that_the_server_refuses_renews_nothing(
    browser: Client, peers: Peers, member: Member
) -> None:
    peer = peers["mastodon-4-2"]
    _, before = await post(browser, peer.host, peer.records.personal_token())
    path = f"/api/platforms/{before['id']}"
    refused = await browser.post(f"{path}/access_token", json={"access_token": "wrong"})
    problem = await refused.get_json()
    assert (refused.status_code, problem["field"]) == (422, "access_token")
    assert (await (await browser.post(f"{path}/test")).get_json())["ok"]
    other = max(before["id"], *member.platform_ids) + 1
    missing = await browser.post(
        f"/api/platforms/{other}/access_token", json={"access_token": peer.records.personal_token()}
    )
    assert missing.status_code == 404


async def test_a_server_that_cannot_be_asked_is_502_and_nothing_is_added(
    browser: Client, peers: Peers
) -> None:
    peer = peers["mastodon-4-2"]
    peer.close()
    status, problem = await post(browser, peer.host, "token")
    assert (status, problem["code"]) == (502, "server_unreachable")
    listed = await (await browser.get("/api/platforms")).get_json()
    assert "Garden" not in {each["name"] for each in listed}


@pytest.mark.parametrize(("days", "is_soon"), [(15, False), (13, True)])
async def test_a_personal_token_of_pixelfed_reminds_two_weeks_before_it_expires(
    browser: Client, peers: Peers, clock: Clock, days: int, *, is_soon: bool
) -> None:
    records = peers["pixelfed"].records
    expires_at = (clock() + timedelta(days=days)).replace(microsecond=0)
    token = jwt(exp=expires_at.timestamp())
    records.tokens[token] = records.tokens.pop(records.personal_token())
    _, body = await post(browser, peers["pixelfed"].host, token)
    assert datetime.fromisoformat(body["token_expires_at"]) == expires_at
    assert body["expires_soon"] is is_soon


def test_a_token_that_is_renewed_by_itself_does_not_remind(clock: Clock) -> None:
    account = PlatformAccount(token_expires_at=clock(), refresh_token="sealed")
    assert not account.expires_soon(clock())
    account.refresh_token = None
    assert account.expires_soon(clock())


@pytest.mark.parametrize(
    "token",
    [
        *("", ".", "..", "a.b.c", "a.!.c", jwt(), jwt(exp=None), jwt(exp="soon"), jwt(exp=[])),
        *(jwt(exp=1e300), jwt(exp=float("nan")), jwt(exp=float("inf")), "a." + "W" * 4000 + ".c"),
        *("a.bnVsbA.c", "a.W10.c", "a.\ud800.c", "ä.ö.ü", jwt(exp=-1e20)),
    ],
)
def test_a_token_that_does_not_say_when_it_expires_has_no_expiry(token: str) -> None:
    assert expiry_of(token) is None


def test_a_token_may_say_when_it_expires() -> None:
    moment = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert expiry_of(jwt(exp=moment.timestamp())) == moment
