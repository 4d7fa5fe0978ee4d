"""Connecting an account with an access token, on its page, at servers on loopback."""

import re
from typing import Any

import pytest
from quart import Response
from quart.typing import TestClientProtocol as Client
from sqlalchemy import URL

from quart_app.settings import Settings, with_setting
from tests.conftest import MakeApp, Member, log_in
from tests.peers.fixtures import Peers, access_token
from tests.web.connecting import settings_with_peers

pytestmark = pytest.mark.sqlite_unless_thorough

PAGE = "/platforms/new/token"
FIELDS = ("instance_url", "access_token", "name")
REFUSED = "does not accept this access token"


@pytest.fixture
def settings(database_url: URL, running_peers: Peers) -> Settings:
    return settings_with_peers(database_url, running_peers)


@pytest.fixture
def form(peers: Peers) -> dict[str, str]:
    """A form that is accepted."""
    peer = peers["pixelfed"]
    return {"instance_url": peer.host, "access_token": access_token(peer), "name": "Garden"}


async def accounts(browser: Client) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = await (await browser.get("/api/platforms")).get_json()
    return listed


async def html_of(response: Response) -> str:
    html: str = await response.get_data(as_text=True)
    return html


async def test_an_account_is_connected_and_the_current_one_stays(
    browser: Client, member: Member, form: dict[str, str], peers: Peers
) -> None:
    response = await browser.post(PAGE, form=form)
    assert (response.status_code, response.headers["Location"]) == (303, "/platforms")
    html = await html_of(await browser.get("/platforms"))
    assert "Account connected." in html
    (added,) = [each for each in await accounts(browser) if each["name"] == "Garden"]
    assert (added["username"], added["platform_type"]) == ("ada", "pixelfed")
    assert added["display_name"] == "Ada Lovelace"
    assert added["instance_url"] == f"https://{peers['pixelfed'].host}"
    state = await (await browser.get("/api/session_state")).get_json()
    assert state["platform_connection_id"] == member.platform_ids[0]


async def test_without_a_name_the_handle_is_the_name(
    browser: Client, form: dict[str, str], peers: Peers
) -> None:
    spelling = f"https://{peers['pixelfed'].host.upper()}/@ada"
    answer = await browser.post(PAGE, form={**form, "name": "", "instance_url": spelling})
    assert answer.status_code == 303
    assert f"@ada@{peers['pixelfed'].host}" in {each["name"] for each in await accounts(browser)}


async def test_the_first_account_becomes_current_and_default(
    browser: Client, member: Member, form: dict[str, str]
) -> None:
    for platform_id in member.platform_ids:
        await browser.post(f"/platforms/{platform_id}/remove")
    assert "No accounts yet" in await html_of(await browser.get("/"))
    await browser.post(PAGE, form=form)
    (added,) = await accounts(browser)
    state = await (await browser.get("/api/session_state")).get_json()
    assert (state["platform_connection_id"], added["is_default"]) == (added["id"], True)


async def test_a_page_that_was_opened_before_still_connects(
    browser: Client, form: dict[str, str]
) -> None:
    """It has a field for the software and one for the username, and another address."""
    before = {**form, "platform_type": "pixelfed", "username": "@Ada"}
    assert (await browser.post("/platforms", form=before)).status_code == 303
    other = {**form, "name": "Other", "platform_type": "mastodon", "username": "grace"}
    refused = await browser.post("/platforms", form=other)
    assert refused.status_code == 422
    assert "This access token belongs to @ada at" in await html_of(refused)


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        ({"name": "Platform 1"}, 409, "You already have an account with that name."),
        ({"name": " Platform 1 "}, 409, "You already have an account with that name."),
        ({"name": " "}, 422, "A name must have 1 to 100 characters."),
        ({"name": "a\u202eb"}, 422, "A name can&#39;t contain control characters"),
        ({"instance_url": "a..b"}, 422, "Enter a server or a handle"),
        ({"instance_url": "https://"}, 422, "Enter a server or a handle"),
        ({"instance_url": "javascript:alert(1)"}, 422, "Enter a server or a handle"),
        ({"access_token": "wrong"}, 422, REFUSED),
        ({"access_token": "Bearer "}, 422, "Enter an access token."),
        ({"access_token": "a b"}, 422, "The token contains a space at position 2."),
        ({"access_token": "a\u2028b"}, 422, "The token contains a line separator"),
        ({"access_token": "x" * 4097}, 422, "at most 4096 characters"),
        ({"platform_type": "friendica"}, 422, "Input should be"),
        ({"other": "x"}, 422, "There is no such field here."),
    ],
)
async def test_a_refused_form_keeps_the_input_in_the_page_only(
    browser: Client,
    form: dict[str, str],
    caplog: pytest.LogCaptureFixture,
    *,
    changes: dict[str, str],
    status: int,
    sentence: str,
) -> None:
    before, typed = await accounts(browser), {**form, **changes}
    response = await browser.post(PAGE, form=typed)
    html = await html_of(response)
    assert (response.status_code, sentence in html) == (status, True)
    for field in FIELDS:
        (value,) = re.findall(rf'<input id="{field}"[^>]*? value="([^"]*)"', html)
        assert value == typed[field]
    assert response.headers["Cache-Control"] == "no-store"
    assert html.index('role="alert" id="error" tabindex="-1" autofocus') < html.index(
        f'action="{PAGE}"'
    )
    assert typed["access_token"] not in caplog.text
    assert await accounts(browser) == before
    again = await html_of(await browser.get(PAGE))
    for field in FIELDS:
        (empty,) = re.findall(rf'<input id="{field}"[^>]*>', again)
        assert ' value="' not in empty or ' value=""' in empty


async def test_a_token_survives_a_server_that_fails(
    browser: Client, form: dict[str, str], peers: Peers
) -> None:
    peers["pixelfed"].records.answer("/api/v1/accounts/verify_credentials", 500, "<h1>Oops</h1>")
    response = await browser.post(PAGE, form=form)
    html = await html_of(response)
    assert response.status_code == 502
    assert f"{peers['pixelfed'].host} reports a problem of its own." in html
    assert f'value="{form["access_token"]}"' in html


async def test_a_new_token_of_the_same_account_renews_its_connection(
    browser: Client, form: dict[str, str], peers: Peers
) -> None:
    """Even where the server no longer accepts the old one, and it was switched off."""
    await browser.post(PAGE, form=form)
    before = await accounts(browser)
    (id_,) = [each["id"] for each in before if each["name"] == "Garden"]
    peers["pixelfed"].records.revoke("ada")
    await browser.post(f"/platforms/{id_}/check")
    states = {each["id"]: each["state"] for each in await accounts(browser)}
    assert states[id_] == "reconnect_needed"
    await browser.patch(f"/api/platforms/{id_}", json={"is_active": False})
    token = access_token(peers["pixelfed"])
    again = {**form, "name": "Other", "access_token": token}
    assert (await browser.post(PAGE, form=again)).status_code == 303
    assert "Account reconnected with the new token." in await html_of(
        await browser.get("/platforms")
    )
    unchanged = [{**each, "checked_at": None, "token_expires_at": None} for each in before]
    after = await accounts(browser)
    assert [{**each, "checked_at": None, "token_expires_at": None} for each in after] == unchanged
    tested = await (await browser.post(f"/api/platforms/{id_}/test")).get_json()
    assert tested["ok"]
    api = {**again, "platform_type": "pixelfed", "instance_url": peers["pixelfed"].host}
    refused = await browser.post("/api/platforms", json=api)
    assert (await refused.get_json())["code"] == "account_taken"


async def test_one_account_too_many_is_refused(
    settings: Settings, make_app: MakeApp, member: Member, form: dict[str, str]
) -> None:
    client = (await make_app(with_setting(settings, platforms_per_user=3))).test_client()
    await log_in(client, member)
    response = await client.post(PAGE, form=form)
    html = await html_of(response)
    assert response.status_code == 409
    assert "You have 3 accounts, the most that you can add. Remove one first." in html
    assert f'value="{form["access_token"]}"' in html


async def test_connecting_does_not_depend_on_the_current_account(
    browser: Client, member: Member, form: dict[str, str]
) -> None:
    page = await html_of(await browser.get(PAGE))
    main = re.sub(r"<(?:header|body)\b.*?>.*?</header>", "", page, flags=re.DOTALL)
    assert "platform_connection_id" not in main
    await browser.post(f"/api/platforms/{member.platform_ids[1]}/switch")
    stale = {"platform_connection_id": str(member.platform_ids[0]), "user_id": str(member.id)}
    assert (await browser.post(PAGE, form={**form, **stale})).status_code == 303
    state = await (await browser.get("/api/session_state")).get_json()
    assert state["platform_connection_id"] == member.platform_ids[1]
    other_user = await browser.post(PAGE, form={**form, "name": "x", "user_id": "999"})
    assert other_user.status_code == 409
    assert form["access_token"] not in await html_of(other_user)
