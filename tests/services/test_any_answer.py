"""Whatever a server answers, requests to it return a value or raise ServerError."""

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import make_url

from quart_app.composition import build_services
from quart_app.fediverse.errors import ServerError
from quart_app.fediverse.fediverse import Fediverse
from quart_app.fediverse.types import App
from tests.conftest import settings_for
from tests.peers.fixtures import Peers, reaching

KEYS = [
    *("id", "username", "acct", "display_name", "url", "avatar", "error", "error_description"),
    *("access_token", "refresh_token", "expires_in", "expires_at", "scope", "token_type"),
    *("created_at", "links", "software", "id_token"),
]
SCRAPS: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        10**30,
        1e308,
        "",
        " ",
        "x",
        "ada",
        "0",
        "-1",
        "\x00",
        "\u202e",
    ),
    *(
        "\ud800",
        "a" * 5000,
        "https://[",
        "https://a@b",
        "//x",
        "https://x.example/" + "%" * 9,
        "é@x",
    ),
    *("Bearer", "MAC", "invalid_grant", "invalid_scope", [], {}, [[]], {"a": []}, ["id"]),
]
CONTENT_TYPES = [
    "application/json",
    "application/json; charset=utf-16",
    "text/html",
    "",
    "é",
    "a/b;",
]
STATUSES = [200, 200, 200, 201, 204, 206, 300, 301, 400, 401, 403, 404, 418, 422, 429, 500, 599]


def any_body(rng: random.Random) -> str:
    """Return JSON with likely keys and unlikely values, or something that is none."""
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice(
            ["", "{", "[]", "null", "NaN", '{"id": NaN}', "\ufeff{}", "[" * 5000, "<p>"]
        )
    body = {key: rng.choice(SCRAPS) for key in rng.sample(KEYS, rng.randrange(len(KEYS)))}
    if kind > 4:  # an answer that is right but for one value
        good = {"id": "1", "username": "ada", "access_token": "t", "token_type": "Bearer"}
        body = good | {rng.choice(KEYS): rng.choice(SCRAPS)}
    return json.dumps(body)


@pytest.fixture
async def fediverse(running_peers: Peers) -> AsyncIterator[Fediverse]:
    url = make_url("sqlite+aiosqlite:///:memory:")
    built = build_services(reaching(settings_for(url), running_peers))
    yield built.fediverse
    await built.close()


@pytest.mark.parametrize("seed", range(4))
async def test_any_answer_is_read_or_is_an_error_of_the_servers(
    fediverse: Fediverse, peers: Peers, seed: int, *, thorough: bool
) -> None:
    peer = peers["mastodon-4-2"]
    instance = await fediverse.recognize(peer.host)
    rng, app = random.Random(seed), App("client", "secret")  # noqa: S311 it is repeatable
    requests: dict[str, Callable[[], Awaitable[object]]] = {
        "/api/v1/accounts/verify_credentials": lambda: fediverse.verify_credentials(peer.host, "t"),
        "/oauth/token": rng.choice(
            [
                lambda: fediverse.refresh(instance, app, "r"),
                lambda: fediverse.knows_app(instance, app, scope="read"),
                lambda: fediverse.exchange_code(
                    instance, app, code="c", redirect_uri="https://a.example/", code_verifier="v"
                ),
            ]
        ),
        "/oauth/revoke": lambda: fediverse.revoke(instance, app, "t"),
        "/api/v1/apps": lambda: fediverse.register_app(
            instance, name="n", website="w", redirect_uri="https://a.example/", scope="read"
        ),
    }
    outcomes = set()
    for _ in range(500 if thorough else 40):
        path = rng.choice([*requests, "/oauth/token"])
        answer = (
            rng.choice(STATUSES),
            any_body(rng).encode("utf-8", "surrogatepass").decode("latin-1"),
        )
        headers = {"Location": str(rng.choice(["https://[", "//", "/x", "https://x.example/"]))}
        peer.records.answer(
            path,
            *answer,
            content_type=rng.choice(CONTENT_TYPES[:1] * 5 + CONTENT_TYPES),
            headers=headers,
        )
        try:
            await requests[path]()
            outcomes.add("read")
        except ServerError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
