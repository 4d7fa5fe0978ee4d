"""The application notices settings that don't fit how it is deployed, once for each."""

import logging
from typing import Any

import pytest
from quart.typing import TestClientProtocol as Client

from quart_app.services import Services
from quart_app.settings import Settings, with_setting
from quart_app.web.pipeline import deployment_notes
from quart_app.web.pipeline.deployment_notes import (
    IS_HTTP,
    IS_HTTPS,
    NOT_TRUSTED,
    ONE_ADDRESS,
    OTHER_HOST,
    USERS_AT_ONE_ADDRESS,
)
from tests.conftest import MakeApp, Member, make_member

pytestmark = pytest.mark.sqlite_unless_thorough

HTTP, HTTPS = "http://quart.example:8080", "https://quart.example"
OWN = {"Host": "quart.example"}


@pytest.fixture
async def clients(settings: Settings, make_app: MakeApp) -> Any:
    """Make an application with these settings, and return a client of it."""

    async def make(**changes: Any) -> Client:
        app = await make_app(with_setting(settings, **{"public_url": HTTP} | changes))
        return app.test_client()

    return make


async def notes_of(client: Client) -> list[str]:
    answer = await client.get("/readyz", headers=OWN)
    assert answer.status_code == 200
    body = await answer.get_json()
    assert body["status"] == "ready"
    assert body.get("notes") != []
    return list(body.get("notes", []))


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "quart_app.deployment"]


@pytest.mark.parametrize(
    ("settings_given", "headers", "note"),
    [
        ({}, {"X-Forwarded-For": "203.0.113.9"}, NOT_TRUSTED),
        ({}, {"X-Forwarded-Proto": "https"}, NOT_TRUSTED),
        ({"trusted_proxies": 1}, {"X-Forwarded-Proto": "https"}, IS_HTTPS),
        ({"trusted_proxies": 1, "public_url": HTTPS}, {"X-Forwarded-Proto": "http"}, IS_HTTP),
        ({}, {"Host": "other.example"}, OTHER_HOST),
        ({}, {"Host": "192.168.1.5:8080"}, OTHER_HOST),
        ({"trusted_proxies": 1}, {"X-Forwarded-Host": "other.example"}, OTHER_HOST),
    ],
)
async def test_a_setting_that_requests_contradict_is_noted_once(
    clients: Any,
    settings_given: dict[str, Any],
    headers: dict[str, str],
    note: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = await clients(**settings_given)
    await client.get("/login", headers=OWN)
    assert await notes_of(client) == []
    for _ in range(3):
        await client.get("/login", headers=OWN | headers)
    assert await notes_of(client) == [note]
    (line,) = warned(caplog)
    assert line.startswith(f"{note} (")
    assert "QUART_APP_" in note


@pytest.mark.parametrize(
    ("settings_given", "headers"),
    [
        ({"trusted_proxies": 1}, {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"}),
        ({"public_url": HTTPS, "trusted_proxies": 1}, {"X-Forwarded-Proto": "https"}),
        # Two proxies are trusted, but only one wrote the header.
        ({"public_url": HTTPS, "trusted_proxies": 2}, {"X-Forwarded-Proto": "https"}),
        ({}, {"Host": "QUART.example:9999"}),
        ({"public_url": "https://bücher.example"}, {"Host": "xn--bcher-kva.example"}),
        ({"public_url": "http://[::1]:8000"}, {"Host": "[::1]"}),
        ({"public_url": "http://127.0.0.1:8000"}, {"Host": "localhost:8000"}),
    ],
)
async def test_settings_that_fit_are_not_noted(
    clients: Any,
    settings_given: dict[str, Any],
    headers: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = await clients(**settings_given)
    await client.get("/login", headers=OWN | headers if "Host" not in headers else headers)
    assert (await notes_of(client), warned(caplog)) == ([], [])


async def test_a_load_balancers_probe_may_come_for_another_host(clients: Any) -> None:
    client = await clients()
    for path in ("/readyz", "/healthz"):
        await client.get(path, headers={"Host": "10.0.0.5:8000"})
    assert await notes_of(client) == []


async def test_a_strangers_text_is_not_shown_and_is_cut_in_the_log(
    clients: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = await clients()
    await client.get("/login", headers={"Host": f"{'a.' * 120}example"})
    assert await notes_of(client) == [OTHER_HOST]
    assert len(warned(caplog)[0]) < len(OTHER_HOST) + 110


async def test_later_requests_are_not_compared(
    clients: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deployment_notes, "WATCHED_REQUESTS", 2)
    client = await clients()
    for _ in range(2):
        await client.get("/login", headers=OWN)
        await client.get("/healthz", headers=OWN)  # not counted
    await client.get("/login", headers={"Host": "other.example", "X-Forwarded-For": "1.2.3.4"})
    assert (await notes_of(client), warned(caplog)) == ([], [])


async def log_in_from(
    client: Client, services: Services, addresses: list[str], *, are_different: bool = True
) -> None:
    """Log in once from each address, each time as another user or always as the first."""
    user: Member | None = None
    for number, address in enumerate(addresses):
        if user is None or are_different:
            user = await make_member(services, f"user-{number}")
        answer = await client.post(
            "/api/login",
            json={"username": user.username, "password": user.password},
            headers=OWN | {"X-Forwarded-For": address},
        )
        assert answer.status_code == 200


@pytest.mark.parametrize("address", ["10.0.0.2", "127.0.0.1", "fd00::1", "10.0.0.2:4711", "unix"])
async def test_users_who_all_come_from_one_private_address_are_noted(
    clients: Any, services: Services, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    client = await clients(trusted_proxies=1)
    await log_in_from(client, services, [address] * (USERS_AT_ONE_ADDRESS - 1))
    assert await notes_of(client) == []
    last = await make_member(services, "last")
    form = {"username": last.username, "password": last.password}
    await client.post("/login", form=form, headers=OWN | {"X-Forwarded-For": address})
    assert await notes_of(client) == [ONE_ADDRESS]
    (line,) = warned(caplog)
    assert address.removesuffix(":4711") in line


@pytest.mark.parametrize(
    ("addresses", "are_different"),
    [
        (["8.8.8.8"] * 4, True),  # an office
        (["2001:4860:4860::8888"] * 4, True),
        (["10.0.0.2", "10.0.0.2", "10.0.0.3", "10.0.0.2", "10.0.0.2", "10.0.0.2"], True),
        (["8.8.8.8", "10.0.0.2", "10.0.0.2", "10.0.0.2"], True),
        (["10.0.0.2"] * 4, False),  # one user who tries it
    ],
)
async def test_users_at_different_or_public_addresses_are_not_noted(
    clients: Any, services: Services, addresses: list[str], *, are_different: bool
) -> None:
    client = await clients(trusted_proxies=1)
    await log_in_from(client, services, addresses, are_different=are_different)
    assert await notes_of(client) == []
