"""The session cookie: which values are a login, which keys verify, and Flask's format."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SECRET_KEY, Clock
from tests.session.applications import (
    OTHER_KEY,
    SID,
    cookie_of,
    flask_app,
    logged_in_as,
    login_payload,
    plain_app,
    put_cookie,
    signer,
)


@pytest.mark.parametrize(
    "changes",
    [
        {"sid": None},
        {"sid": "short"},
        {"sid": 5},
        {"sid": SID + "\n"},
        {"epoch": None},
        {"epoch": "0"},
        {"epoch": True},
        {"epoch": 0.0},
        {"user_id": ""},
        {"user_id": "7" * 256},
        {"user_id": 0},
        {"user_id": True},
        {"authenticated": 1},
        {"authenticated": False},
        {"created_at": "yesterday"},
        {"created_at": "2025-01-09T12:00:00"},
        {"expires_at": None},
        {"last_activity": 5},
        {"remember": "yes"},
        {"tenant": "1"},
    ],
)
async def test_a_signed_cookie_with_missing_claims_is_not_a_login(
    clock: Clock, changes: dict[str, Any]
) -> None:
    client = plain_app(clock).test_client()
    put_cookie(client, str(signer().dumps(login_payload(clock))))
    assert await logged_in_as(client) == 7
    put_cookie(client, str(signer().dumps(login_payload(clock, **changes, colour="green"))))
    body = await (await client.get("/validate")).get_json()
    # Keys of another application are kept; those of a login are not.
    assert body == {"login": None, "session": {"colour": "green"}}


@pytest.mark.parametrize("key", ["created_at", "last_activity"])
async def test_a_time_more_than_a_minute_ahead_is_refused(clock: Clock, key: str) -> None:
    client = plain_app(clock).test_client()
    for ahead, expected in ((timedelta(seconds=60), 7), (timedelta(seconds=61), None)):
        moment = (clock() + ahead).isoformat()
        put_cookie(client, str(signer().dumps(login_payload(clock, **{key: moment}))))
        assert await logged_in_as(client) == expected


async def test_a_signature_from_the_future_is_refused(clock: Clock) -> None:
    client = plain_app(clock).test_client()
    clock.advance(-timedelta(seconds=50))
    put_cookie(client, str(signer().dumps(login_payload(clock))))  # signed by the real clock
    assert await logged_in_as(client) == 7
    clock.advance(-timedelta(seconds=15))
    put_cookie(client, str(signer().dumps(login_payload(clock))))
    assert await logged_in_as(client) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cookie: cookie[:-1],
        lambda cookie: cookie[: len(cookie) // 2],
        lambda cookie: cookie.replace(".", "", 1),
        lambda cookie: "." + cookie,
        lambda _: "",
        lambda _: "....",
        lambda _: "null",
        lambda _: "\u00e9\u00fc",
        lambda _: signer(OTHER_KEY).dumps({"user_id": 7}),
        lambda _: signer(salt="another").dumps({"user_id": 7}),
        lambda _: signer().dumps(["a", "list"]),
        lambda _: signer().dumps("text"),
        lambda _: json.dumps({"user_id": 7}),
        lambda _: "eyJhbGciOiJub25lIn0.eyJ1c2VyX2lkIjo3fQ.",  # a JWT
        lambda _: "A" * 12_000,
    ],
)
async def test_a_damaged_cookie_is_neither_a_login_nor_an_error(
    clock: Clock, spoil: Callable[[str], str]
) -> None:
    app = plain_app(clock)
    client = app.test_client()
    await client.post("/create")
    cookie = str(spoil(cookie_of(client)))
    response = await app.test_client().get("/validate", headers={"Cookie": f"session={cookie}"})
    assert response.status_code == 200
    assert await response.get_json() == {"login": None, "session": {}}


@given(header=st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=200))
async def test_no_cookie_header_breaks_opening_a_session(header: str) -> None:
    client = plain_app(Clock()).test_client()
    response = await client.get("/validate", headers={"Cookie": f"session={header}"})
    assert await response.get_json() == {"login": None, "session": {}}


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
@pytest.mark.parametrize("keys", [[SECRET_KEY], [OTHER_KEY, SECRET_KEY]])
async def test_both_digests_and_every_key_verify(
    clock: Clock, digest: str, keys: list[str]
) -> None:
    client = plain_app(clock, keys=keys, digest=digest).test_client()
    for method in (hashlib.sha1, hashlib.sha256):
        put_cookie(client, str(signer(digest=method).dumps(login_payload(clock))))
        assert await logged_in_as(client) == 7
    await client.post("/switch/2")
    newest = signer(keys[0], digest=getattr(hashlib, digest))
    assert newest.loads(cookie_of(client))["tenant"] == 2


async def test_a_removed_key_verifies_nothing(clock: Clock) -> None:
    client = plain_app(clock, keys=[OTHER_KEY]).test_client()
    put_cookie(client, str(signer().dumps(login_payload(clock))))
    assert await logged_in_as(client) is None


async def test_a_cookie_made_by_flask_can_be_read(clock: Clock) -> None:
    peer = flask_app().test_client()
    peer.get("/write")
    cookie = peer.get_cookie("session")
    assert cookie is not None
    client = plain_app(clock).test_client()
    put_cookie(client, cookie.value)
    body = await (await client.get("/validate")).get_json()
    assert body["session"]["colour"] == "green"
    assert body["login"] is None
