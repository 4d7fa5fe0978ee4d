"""Rotating the key or the digest logs nobody out: the documented steps, rehearsed.

Two processes serve one database; the operator restarts them one after the other, so that an old and
a new process may serve the same browser at any moment.
"""

import secrets
from dataclasses import replace
from typing import Any

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client

from quart_app.settings import Settings
from tests.conftest import MakeApp, Member, log_in
from tests.web.test_session_ends import copy_of, state_of

# The statements have tests of their own on both engines.
pytestmark = pytest.mark.sqlite_unless_thorough

OLD, NEW = secrets.token_hex(32), secrets.token_hex(32)
KEY_STEPS: list[dict[str, Any]] = [
    {"secret_key": OLD},
    {"secret_key": OLD, "secret_key_fallbacks": (NEW,)},  # every process verifies with the new key
    {"secret_key": NEW, "secret_key_fallbacks": (OLD,)},  # then it signs with it
]
DIGEST_STEPS: list[dict[str, Any]] = [{"session_digest": "sha1"}, {"session_digest": "sha256"}]


@pytest.mark.parametrize("steps", [KEY_STEPS, DIGEST_STEPS], ids=["key", "digest"])
async def test_a_rolling_restart_with_a_new_key_logs_nobody_out(
    settings: Settings, make_app: MakeApp, member: Member, steps: list[dict[str, Any]]
) -> None:
    browsers: list[Client] = []

    async def visit(processes: list[Quart]) -> None:
        for process in processes:
            browser = process.test_client()
            await log_in(browser, member)
            browsers.append(browser)
            for each in browsers:  # the sessions from every step, on every process
                for answering in processes:
                    visitor = copy_of(answering, each)
                    assert await state_of(visitor) == 200
                    switched = await visitor.post(f"/api/platforms/{member.platform_ids[1]}/switch")
                    assert switched.status_code == 200
                    assert await state_of(copy_of(processes[0], visitor)) == 200

    processes = [await make_app(replace(settings, **steps[0])) for _ in range(2)]
    await visit(processes)
    for step in steps[1:]:
        for number in range(2):
            processes[number] = await make_app(replace(settings, **step))
            await visit(processes)


async def test_a_session_signed_with_a_removed_key_is_not_logged_in(
    settings: Settings, make_app: MakeApp, member: Member
) -> None:
    old = await make_app(replace(settings, secret_key=OLD))
    new = await make_app(replace(settings, secret_key=NEW))
    browser = old.test_client()
    await log_in(browser, member)
    assert await state_of(copy_of(new, browser)) == 401


async def test_signing_with_a_new_key_before_every_process_knows_it_logs_users_out(
    settings: Settings, make_app: MakeApp, member: Member
) -> None:
    """This is why there are three steps instead of two."""
    old = await make_app(replace(settings, secret_key=OLD))
    new = await make_app(replace(settings, secret_key=NEW, secret_key_fallbacks=(OLD,)))
    browser = new.test_client()
    await log_in(browser, member)
    assert await state_of(copy_of(old, browser)) == 401
