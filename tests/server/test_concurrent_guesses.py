"""Concurrent guesses at two processes are worth as much as sequential ones."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import httpx2
import pytest
from sqlalchemy import delete, update

from quart_app.model import Throttle
from quart_app.services.identity.steps.throttle import OF_A_NAME, OF_A_SESSION
from quart_app.settings import with_setting
from quart_app.storage.database import Database
from tests.conftest import PASSWORD, migrated_database, settings_for
from tests.processes import Processes, log_in, two_processes
from tests.servers import ANSWER_SECONDS

HELD = timedelta(seconds=1)
WRONG = "not the password"
IN_FLIGHT = 40


class Answer(NamedTuple):
    """A response, without the parts that differ in every response."""

    status: int
    body: str
    headers: frozenset[tuple[str, str]]
    seconds: float


pytestmark = pytest.mark.untimed


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def two(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Processes]:
    folder = tmp_path_factory.mktemp("guesses")
    with migrated_database(request.param, request, folder) as url:
        settings = with_setting(settings_for(url), failed_login=HELD)
        with two_processes(settings, folder) as both:
            yield both


@pytest.fixture
def processes(two: Processes) -> Processes:
    """The two processes, without failed logins of earlier tests."""

    async def forget() -> None:
        database = Database(two.settings.database_url)
        async with database.begin() as db:
            await db.execute(delete(Throttle))
        await database.close()

    asyncio.run(forget())
    return two


def answer(response: httpx2.Response, seconds: float) -> Answer:
    changing = {"date", "x-request-id", "set-cookie", "content-length"}
    headers = frozenset(
        (name, value) for name, value in response.headers.items() if name not in changing
    )
    return Answer(response.status_code, response.text, headers, seconds)


async def _ask_all(
    processes: Processes, path: str, bodies: list[dict[str, str]], cookie: str
) -> list[Answer]:
    async with httpx2.AsyncClient(timeout=ANSWER_SECONDS) as client:

        async def ask(number: int, body: dict[str, str]) -> Answer:
            server = list(processes)[number % 2]
            since = time.monotonic()
            response = await client.post(
                f"{server.url}{path}", json=body, headers={"Cookie": f"session={cookie}"}
            )
            client.cookies.clear()
            return answer(response, time.monotonic() - since)

        return await asyncio.gather(*(ask(*each) for each in enumerate(bodies)))


def ask_all(
    processes: Processes, bodies: list[dict[str, str]], path: str = "/api/login", cookie: str = ""
) -> list[Answer]:
    """Send all of them at once, alternating between the processes."""
    return asyncio.run(_ask_all(processes, path, bodies, cookie))


def guess(processes: Processes, name: str, passwords: list[str]) -> list[Answer]:
    return ask_all(processes, [{"username": name, "password": each} for each in passwords])


def set_failures(processes: Processes, failures: int, ago: timedelta) -> None:
    """Store this many failures for each name and address, the last one this long ago."""

    async def change() -> None:
        database = Database(processes.settings.database_url)
        async with database.begin() as db:
            at = datetime.now(UTC) - ago
            await db.execute(update(Throttle).values(failures=failures, last_failure_at=at))
        await database.close()

    asyncio.run(change())


def statuses(answers: list[Answer]) -> Counter[int]:
    return Counter(each.status for each in answers)


def test_concurrent_guesses_are_limited_like_sequential_ones(processes: Processes) -> None:
    name = processes.new_user()
    counted = statuses(guess(processes, name, [WRONG] * IN_FLIGHT))
    # On a busy machine the first windows, of 1 and 2 seconds, end during the test.
    assert OF_A_NAME.free + 1 <= counted[401] <= OF_A_NAME.free + 4
    assert counted[401] + counted[429] == IN_FLIGHT
    for failures in (12, 15, 100):
        set_failures(processes, failures, timedelta(minutes=16))
        counted = statuses(guess(processes, name, [WRONG] * IN_FLIGHT))
        assert counted == {401: 1, 429: IN_FLIGHT - 1}  # one window allows one guess


def test_a_refusal_does_not_reveal_whether_the_password_was_right(processes: Processes) -> None:
    name = processes.new_user()
    guess(processes, name, [WRONG])
    set_failures(processes, 15, timedelta())
    guesses = [WRONG, PASSWORD] * (IN_FLIGHT // 2)
    answers = guess(processes, name, guesses)
    assert statuses(answers) == {429: IN_FLIGHT}
    wrong, right = (
        [each for each, password in zip(answers, guesses, strict=True) if password == which]
        for which in (WRONG, PASSWORD)
    )
    # The wait is rounded up, so it may be a second less for the last of them.
    assert {each.headers for each in wrong} & {each.headers for each in right}
    assert len({each.body for each in answers}) <= 2
    assert min(each.seconds for each in answers) >= HELD.total_seconds()


def test_only_one_concurrent_guess_per_window_is_compared(
    processes: Processes,
) -> None:
    name = processes.new_user()
    guess(processes, name, [WRONG])
    set_failures(processes, 15, timedelta(minutes=16))
    answers = guess(processes, name, [WRONG] * 4 + [PASSWORD] + [WRONG] * 3)
    right = answers.pop(4)
    if right.status == 200:  # that guess was right, so the others start again at zero
        assert set(statuses(answers)) <= {401, 429}
        return
    assert right.status == 429
    assert statuses(answers) == {401: 1, 429: 6}
    assert (right.body, right.headers) in {
        (each.body, each.headers) for each in answers if each.status == 429
    }


def test_concurrent_right_passwords_all_log_in_after_earlier_failures(
    processes: Processes,
) -> None:
    """Each is compared alone, because it could be a failure; none is refused because of others."""
    name = processes.new_user()
    guess(processes, name, [WRONG] * OF_A_NAME.free)
    assert statuses(guess(processes, name, [PASSWORD] * 20)) == {200: 20}
    # And no count is left: the next failures are free again.
    assert statuses(guess(processes, name, [WRONG] * OF_A_NAME.free)) == {401: OF_A_NAME.free}


def test_password_checks_in_a_session_allow_one_guess_per_window_too(processes: Processes) -> None:
    name = processes.new_user()
    cookie = log_in(processes.a, name)
    body = {"current_password": WRONG, "new_password": "another one, and long enough"}
    counted = statuses(ask_all(processes, [body] * IN_FLIGHT, "/api/account/password", cookie))
    assert OF_A_SESSION.free + 1 <= counted[401] <= OF_A_SESSION.free + 4
    assert counted[401] + counted[429] == IN_FLIGHT
    set_failures(processes, 30, timedelta())
    right = body | {"current_password": PASSWORD}
    answers = ask_all(processes, [right, body] * 3, "/api/account/password", cookie)
    assert statuses(answers) == {429: 6}
    assert {json.loads(each.body)["code"] for each in answers} == {"too_many_attempts"}
    assert len({each.body for each in answers}) <= 2
