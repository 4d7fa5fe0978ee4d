"""The rate limit on wrong passwords: who must wait, for how long, and who never must."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client
from sqlalchemy import func, select

from quart_app.composition import Built
from quart_app.model import AuditEntry, Role, Throttle
from quart_app.services import Services
from quart_app.services.identity.steps.throttle import (
    FORGOTTEN_AFTER,
    LONGEST_WAIT,
    OF_A_DEVICE,
    OF_A_NAME,
    OF_A_SESSION,
    OF_AN_ADDRESS,
    OF_OLD_DEVICES,
    wait_after,
)
from quart_app.settings import Settings, with_setting
from tests.callers import NOBODY, caller_from
from tests.conftest import PASSWORD, Clock, MakeApp, Member, log_in, make_member

# The statements have tests of their own on both engines.
pytestmark = pytest.mark.sqlite_unless_thorough

WRONG = "not the password"
SECOND = timedelta(seconds=1)


async def attempt(
    client: Client, name: str = "ada", password: str = WRONG, **headers: str
) -> tuple[int, str, str | None]:
    """Try to log in; return status, body and Retry-After."""
    body = {"username": name, "password": password}
    response: Any = await client.post("/api/login", json=body, headers=headers)
    text = await response.get_data(as_text=True)
    return response.status_code, text, response.headers.get("Retry-After")


async def fail_at_an_address(services: Services, address: str, times: int) -> None:
    """Count failures of many names from one address, like over HTTP, but without hashing."""
    throttling = services.accounts.comparison.throttling
    for number in range(times):
        caller = caller_from(address=address)
        await throttling.fail(throttling.login(caller, f"{address} {number}", None))


async def fail(client: Client, times: int, name: str = "ada", **headers: str) -> None:
    for _ in range(times):
        assert (await attempt(client, name, **headers))[0] == 401


def test_the_wait_doubles_up_to_the_maximum() -> None:
    waits = [wait_after(number, OF_A_NAME).total_seconds() for number in range(20)]
    assert waits[:6] == [0] * 6
    assert waits[6:11] == [1, 2, 4, 8, 16]
    assert waits[15:] == [512, 900, 900, 900, 900]
    assert wait_after(10**9, OF_A_NAME) == LONGEST_WAIT < FORGOTTEN_AFTER


@pytest.mark.usefixtures("member")
async def test_the_sixth_wrong_password_makes_every_client_wait_for_that_name(
    app: Quart, visitor: Client, clock: Clock
) -> None:
    answers = []
    for name in ("ada", "nobody"):
        await fail(visitor, OF_A_NAME.free + 1, name)
        answers.append(await attempt(visitor, name))
    known, unknown = answers
    assert known == unknown
    assert known[0] == 429
    assert known[2] == "1"
    assert "too_many_attempts" in known[1]
    # Right or wrong, it is not compared.
    assert (await attempt(visitor, "ada", PASSWORD))[0] == 429
    clock.advance(SECOND)
    assert (await attempt(visitor))[0] == 401
    assert (await attempt(visitor))[2] == "2"
    clock.advance(2 * SECOND)
    assert (await attempt(visitor, "ada", PASSWORD))[0] == 200
    await fail(app.test_client(), OF_A_NAME.free + 1)  # the right password resets the count


async def test_a_name_is_limited_in_any_case_and_separately_from_others(
    visitor: Client, member: Member
) -> None:
    await fail(visitor, OF_A_NAME.free + 1, "ada@example.com")
    assert (await attempt(visitor, "ADA@example.COM"))[0] == 429
    assert (await attempt(visitor, member.username, PASSWORD))[0] == 200


async def test_the_page_shows_the_limit_and_keeps_the_input(
    visitor: Client, member: Member
) -> None:
    await fail(visitor, OF_A_NAME.free + 1)
    form = {"username": member.username, "password": WRONG, "next": "/account"}
    response = await visitor.post("/login", form=form)
    text = await response.get_data(as_text=True)
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "1"
    assert "too many wrong passwords" in text
    assert 'value="ada"' in text


async def test_an_address_that_tries_many_names_must_wait(
    visitor: Client, member: Member, services: Services
) -> None:
    await fail_at_an_address(services, "<local>", OF_AN_ADDRESS.free)
    await fail(visitor, 1, "somebody")
    assert (await attempt(visitor, "somebody else"))[0] == 429
    assert (await attempt(visitor, member.username, PASSWORD))[0] == 429


async def test_addresses_are_distinguished_by_trusted_proxy_headers_only(
    settings: Settings, make_app: MakeApp, member: Member, services: Services
) -> None:
    app = await make_app(with_setting(settings, trusted_proxies=1))

    async def exhausted(sent: str, then: str) -> int:
        client = app.test_client()
        await fail_at_an_address(services, sent.rpartition(" ")[2], OF_AN_ADDRESS.free)
        await fail(client, 1, sent, **{"X-Forwarded-For": sent})
        return (await attempt(client, member.username, PASSWORD, **{"X-Forwarded-For": then}))[0]

    assert await exhausted("192.0.2.1", "192.0.2.2") == 200
    assert await exhausted("192.0.2.3", "192.0.2.3") == 429
    # The client chooses everything before the proxy's own entry.
    assert await exhausted("198.51.100.1, 192.0.2.4", "198.51.100.1, 192.0.2.5") == 200
    assert await exhausted("198.51.100.2, 192.0.2.6", "198.51.100.9, 192.0.2.6") == 429
    # One customer has a whole /64.
    assert await exhausted("2001:db8::1", "2001:db8::ffff:1") == 429
    assert await exhausted("2001:db8:0:1::1", "2001:db8:0:2::1") == 200


async def test_forwarded_headers_are_ignored_without_a_trusted_proxy(
    visitor: Client, member: Member, services: Services
) -> None:
    await fail_at_an_address(services, "<local>", OF_AN_ADDRESS.free - 3)
    for number in range(4):
        forwarded = {"X-Forwarded-For": f"192.0.2.{number}", "Forwarded": f"for=192.0.2.{number}"}
        await fail(visitor, 1, f"somebody {number}", **forwarded)
    assert (await attempt(visitor, member.username, PASSWORD))[0] == 429


async def test_a_known_device_is_never_locked_out_by_others(
    app: Quart, browser: Client, member: Member, services: Services
) -> None:
    stranger = app.test_client()
    await browser.post("/logout")
    await fail_at_an_address(services, "<local>", OF_AN_ADDRESS.free - OF_A_NAME.free)
    await fail(stranger, OF_A_NAME.free + 1)
    assert (await attempt(stranger, "somebody"))[0] == 429
    assert (await attempt(stranger, "ada", PASSWORD))[0] == 429
    await log_in(browser, member)  # from the same address
    # It has a limit of its own, which is nobody else's.
    await fail(browser, OF_A_DEVICE.free + 1)
    assert (await attempt(browser, "ada", PASSWORD))[0] == 429


async def test_devices_known_before_a_password_change_share_one_count(
    app: Quart, member: Member
) -> None:
    """Otherwise each copied device cookie would be worth ten guesses of its own."""
    stolen = [app.test_client() for _ in range(3)]
    for client in stolen:
        await log_in(client, member)
        await client.post("/logout")
    owner = app.test_client()
    await log_in(owner, member)
    new = {"current_password": PASSWORD, "new_password": "another one, and long enough"}
    assert (await owner.post("/api/account/password", json=new)).status_code == 204
    compared = 0
    for number in range(3 * OF_OLD_DEVICES.free):
        status, _, _ = await attempt(stolen[number % 3], "ada")
        compared += status == 401
    assert compared == OF_OLD_DEVICES.free + 1
    # The device that changed the password has a count of its own, and so has a new browser.
    for client in (owner, app.test_client()):
        assert (await attempt(client, "ada", new["new_password"]))[0] == 200


async def test_a_known_device_is_known_for_its_own_user_only(
    app: Quart, browser: Client, services: Services
) -> None:
    ben = await make_member(services, "ben")
    await fail(app.test_client(), OF_A_NAME.free + 1, ben.username)
    assert (await attempt(browser, ben.username, PASSWORD))[0] == 429


@pytest.mark.parametrize("count", [60])
async def test_concurrent_right_passwords_are_never_refused(
    app: Quart, member: Member, count: int, *, thorough: bool
) -> None:
    answers = await asyncio.gather(
        *(
            attempt(app.test_client(), member.username, PASSWORD)
            for _ in range(1000 if thorough else count)
        )
    )
    assert {status for status, *_ in answers} == {200}


async def test_concurrent_guesses_are_limited_like_sequential_ones(
    app: Quart, member: Member, built: Built
) -> None:
    """The clock does not advance, so after the first wait nothing is compared."""
    guesses = [WRONG] * 100 + [PASSWORD] + [WRONG] * 100
    answers = await asyncio.gather(
        *(attempt(app.test_client(), member.username, each) for each in guesses)
    )
    statuses = [status for status, *_ in answers]
    assert set(statuses) == {401, 429}
    slots = app.extensions["quart_app"].accounts.comparison.hashing_queue.slots
    assert statuses.count(401) <= OF_A_NAME.free + 1 + slots
    await app.extensions["quart_app"].audit.flush()
    async with built.database.read() as db:
        counted = {
            each.event: each.count
            for each in await db.scalars(select(AuditEntry))
            if each.event.startswith("login_")
        }
    assert counted == {
        "login_failed": statuses.count(401),
        "login_throttled": statuses.count(429),
    }


async def test_a_right_password_that_begins_no_session_is_recorded(
    app: Quart, visitor: Client, member: Member, built: Built, services: Services
) -> None:
    body = {"username": member.username, "password": PASSWORD, "new_password": "not asked for!"}
    assert (await visitor.post("/api/login", json=body)).status_code == 422
    _, given = await services.users.create(
        NOBODY, username="ben", email="ben@example.com", role=Role.VIEWER, password=None
    )
    assert given
    for new_password in ("short", given):
        body = {"username": "ben", "password": given, "new_password": new_password}
        assert (await visitor.post("/api/login", json=body)).status_code == 422
    audit = app.extensions["quart_app"].audit
    await audit.flush()
    async with built.database.read() as db:
        counts = {
            each.user_id: each.count
            for each in await db.scalars(
                select(AuditEntry).where(AuditEntry.event == "login_incomplete")
            )
        }
    assert counts.pop(member.id) == 1
    assert list(counts.values()) == [2]


async def test_counts_are_shared_between_processes_and_survive_a_restart(
    settings: Settings, make_app: MakeApp, member: Member
) -> None:
    one, other = await make_app(settings), await make_app(settings)
    for number in range(OF_A_NAME.free + 1):
        await fail([one, other][number % 2].test_client(), 1)
    restarted = await make_app(settings)
    for app in (one, other, restarted):
        assert (await attempt(app.test_client(), member.username, PASSWORD))[0] == 429


async def test_failures_expire_after_an_hour_and_their_rows_are_deleted(
    visitor: Client, member: Member, clock: Clock, built: Built
) -> None:
    for number in range(12):
        await fail(visitor, 1, f"somebody {number}")
    await fail(visitor, OF_A_NAME.free + 1)
    clock.advance(FORGOTTEN_AFTER + SECOND)
    await fail(visitor, OF_A_NAME.free + 1)
    assert (await attempt(visitor, member.username, PASSWORD))[0] == 429
    async with built.database.read() as db:
        assert await db.scalar(select(func.count()).select_from(Throttle)) == 2


async def test_a_session_that_guesses_must_wait_but_a_new_login_need_not(
    browser: Client, app: Quart, member: Member, clock: Clock
) -> None:
    clock.advance(timedelta(minutes=16))
    body = {"current_password": WRONG}
    for _ in range(OF_A_SESSION.free + 1):
        assert (await browser.delete("/api/sessions/1", json=body)).status_code == 401
    for current in (WRONG, PASSWORD):
        body = {"current_password": current}
        response = await browser.delete("/api/sessions/1", json=body)
        assert response.status_code == 429
        assert response.headers["Retry-After"] == "1"
        change = body | {"new_password": "another, and long enough"}
        assert (await browser.post("/api/account/password", json=change)).status_code == 429
    other = app.test_client()
    await log_in(other, member)
    assert (
        await other.delete("/api/sessions", json={"current_password": PASSWORD})
    ).status_code == 204


async def test_the_right_password_resets_a_sessions_count(browser: Client, clock: Clock) -> None:
    clock.advance(timedelta(minutes=16))

    async def confirm(password: str) -> int:
        body = {"current_password": password}
        return (await browser.delete("/api/sessions/99", json=body)).status_code

    for _ in range(2):
        for _ in range(OF_A_SESSION.free):
            assert await confirm(WRONG) == 401
        assert await confirm(PASSWORD) == 404  # there is no such login


async def test_the_table_contains_no_name_and_no_password(visitor: Client, built: Built) -> None:
    await fail(visitor, 1, "a-password-in-the-wrong-field")
    async with built.database.read() as db:
        for row in await db.scalars(select(Throttle)):
            assert "password" not in row.key
            assert len(row.key) == 32


async def test_a_clock_that_was_set_back_does_not_prolong_the_wait(
    visitor: Client, clock: Clock
) -> None:
    await fail(visitor, OF_A_NAME.free + 1)
    clock.advance(-timedelta(days=3))
    # Nor does it reset the count: the next failure is added to the earlier ones.
    await fail(visitor, 1)
    assert (await attempt(visitor))[2] == "2"
    clock.advance(2 * SECOND)
    await fail(visitor, 1)


async def test_a_clock_that_is_slightly_behind_does_not_prolong_the_wait(
    visitor: Client, clock: Clock
) -> None:
    await fail(visitor, 1)
    clock.advance(-3 * SECOND)  # like another machine's clock, which serves the next request
    await fail(visitor, OF_A_NAME.free)
    clock.advance(-3 * SECOND)
    assert (await attempt(visitor))[2] == "1"
