"""A request's own origin behind proxies that do not pass on the scheme or the port."""

import pytest
from quart.typing import TestClientProtocol as Client

from quart_app.settings import Settings, with_setting
from quart_app.web.pipeline.origins import Origin, origin_of
from tests.conftest import PASSWORD, MakeApp, Member

LAN = "http://192.168.1.5:8080"
SITE = "https://quart.example"
OTHERS = [
    "http://evil.example",
    "https://evil.example",
    "https://quart.example.evil.example",
    "https://evil.example#quart.example",
    "https://quart.example:8443",
    "https://www.quart.example",
    "http://192.168.1.5:8081",
    "http://192.168.1.6:8080",
    "https://192.168.1.5:8080",
    "null",
    "",
    "http://[",
    "file://",
]


@pytest.fixture
def engine_name() -> str:
    """One engine is enough, because this is about HTTP."""
    return "sqlite"


async def status_of_login(client: Client, member: Member, headers: dict[str, str]) -> int:
    good = {"username": member.username, "password": PASSWORD}
    return (await client.post("/api/login", json=good, headers=headers)).status_code


@pytest.mark.parametrize(
    ("public_url", "trusted_proxies", "origin", "sent"),
    [
        # nginx's `proxy_set_header Host $host` drops the port.
        (LAN, 0, LAN, {"Host": "192.168.1.5"}),
        (LAN, 1, LAN, {"Host": "192.168.1.5", "X-Forwarded-Proto": "http"}),
        # Two proxies are trusted, but only one wrote X-Forwarded-Proto: it is not read.
        (SITE, 2, SITE, {"Host": "quart.example", "X-Forwarded-Proto": "https"}),
        # The proxy ends TLS, and nothing says so.
        (SITE, 0, SITE, {"Host": "quart.example"}),
        ("https://quart.example:8443", 1, "https://quart.example:8443", {"Host": "quart.example"}),
        ("https://quart.example:443", 0, SITE, {"Host": "quart.example"}),
        ("https://bücher.example", 0, "https://xn--bcher-kva.example", {"Host": "backend"}),
        ("http://[2001:DB8::1]:8080", 0, "http://[2001:db8::1]:8080", {"Host": "[2001:db8::1]"}),
    ],
)
async def test_the_origin_of_the_public_url_is_accepted_and_another_sites_is_not(
    *,
    settings: Settings,
    make_app: MakeApp,
    member: Member,
    public_url: str,
    trusted_proxies: int,
    origin: str,
    sent: dict[str, str],
) -> None:
    configured = with_setting(settings, public_url=public_url, trusted_proxies=trusted_proxies)
    client = (await make_app(configured)).test_client()
    own = {origin_of(origin), origin_of(f"http://{sent['Host']}")}
    for other in OTHERS:
        if origin_of(other) not in own:
            assert await status_of_login(client, member, sent | {"Origin": other}) == 403, other
    # Sec-Fetch-Site decides where a browser sends it.
    for site in ("cross-site", "same-site"):
        headers = sent | {"Origin": origin, "Sec-Fetch-Site": site}
        assert await status_of_login(client, member, headers) == 403
    assert await status_of_login(client, member, sent | {"Origin": origin}) == 200


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost", Origin("http", "localhost", 80)),
        ("HTTPS://Quart.Example/", Origin("https", "quart.example", 443)),
        ("http://[::1]:8000", Origin("http", "::1", 8000)),
        ("http://localhost:0", Origin("http", "localhost", 0)),
        ("null", None),
        ("", None),
        ("http://", None),
        ("http://localhost:99999", None),
        ("ftp://localhost", None),
    ],
)
def test_an_origin_has_scheme_host_and_port(url: str, expected: Origin | None) -> None:
    assert origin_of(url) == expected
