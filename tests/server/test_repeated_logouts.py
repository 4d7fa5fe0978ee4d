"""Each end of a session is recorded once, however often and wherever it is requested."""

import asyncio
from collections.abc import Callable

import httpx2
import pytest
from sqlalchemy import delete, select

from quart_app.model import AuditEntry, Login, Revocation
from quart_app.services.audit.entries import hash_of_session
from quart_app.storage.database import Database
from tests.processes import Processes, log_in, log_out, session_of
from tests.servers import ANSWER_SECONDS

NUMBER = 60


async def _ask(processes: Processes, path: str, cookies: list[str]) -> set[int]:
    async with httpx2.AsyncClient(timeout=ANSWER_SECONDS) as client:
        answers = await asyncio.gather(
            *(
                client.post(
                    f"{list(processes)[number % 2].url}{path}",
                    headers={"Cookie": f"session={cookie}"},
                )
                for number, cookie in enumerate(cookies)
            )
        )
    return {answer.status_code for answer in answers}


def ask_all(processes: Processes, path: str, *cookies: str) -> set[int]:
    """Send the same request with these cookies, many times at once, to both processes."""
    return asyncio.run(_ask(processes, path, [*cookies] * (NUMBER // len(cookies))))


def written(processes: Processes, cookie: str) -> list[tuple[str, int | None]]:
    """Return the audit entries about ended sessions, and the number of revocations."""
    sid = session_of(cookie)["sid"]

    async def read() -> list[tuple[str, int | None]]:
        database = Database(processes.settings.database_url)
        async with database.read() as db:
            rows = await db.execute(
                select(AuditEntry.event, AuditEntry.user_id).where(
                    AuditEntry.session == hash_of_session(sid),
                    AuditEntry.event.in_(["logout", "sessions_ended"]),
                )
            )
            revoked = list(await db.scalars(select(Revocation.seq).where(Revocation.sid == sid)))
        await database.close()
        assert len(revoked) <= 1
        return [(event, user_id) for event, user_id in rows]

    return asyncio.run(read())


def forget_logins(processes: Processes, cookie: str) -> None:
    """Delete the login record of a session, which does not log it out."""

    async def forget() -> None:
        database = Database(processes.settings.database_url)
        async with database.begin() as db:
            await db.execute(delete(Login).where(Login.sid == session_of(cookie)["sid"]))
        await database.close()

    asyncio.run(forget())


def test_concurrent_logouts_of_one_session_write_one_row(processes: Processes, name: str) -> None:
    cookie = log_in(processes.a, name)
    user_id = session_of(cookie)["user_id"]
    assert ask_all(processes, "/api/logout", cookie) == {204}
    assert written(processes, cookie) == [("logout", user_id)]
    assert [server.status(cookie) for server in processes] == [401, 401]
    assert ask_all(processes, "/logout", cookie) == {303}
    assert written(processes, cookie) == [("logout", user_id)]


def test_a_session_without_a_login_record_is_ended_once(processes: Processes, name: str) -> None:
    cookie = log_in(processes.a, name)
    forget_logins(processes, cookie)
    assert processes.a.status(cookie) == 200
    assert ask_all(processes, "/api/logout", cookie) == {204}
    assert written(processes, cookie) == [("logout", session_of(cookie)["user_id"])]
    assert processes.a.status(cookie) == 401


@pytest.mark.parametrize(
    "end",
    [
        lambda processes, cookie: log_out(processes.a, cookie, everywhere=True),
        lambda processes, cookie: processes.a.ask("POST", "/account/not_me", cookie),
    ],
    ids=["log out everywhere", "this wasn't me"],
)
@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_logout_after_a_logout_everywhere_writes_nothing(
    processes: Processes,
    name: str,
    end: Callable[[Processes, str], object],
    is_recorded: bool,  # noqa: FBT001 a parameter of pytest's
) -> None:
    killed, asking = log_in(processes.a, name), log_in(processes.b, name)
    end(processes, asking)
    before = written(processes, asking)
    if not is_recorded:
        forget_logins(processes, killed)
    assert ask_all(processes, "/api/logout", killed, asking) == {204}
    assert written(processes, killed) == []
    assert written(processes, asking) == before


def test_a_session_replaced_by_a_login_is_recorded_once(processes: Processes, name: str) -> None:
    cookie = log_in(processes.a, name)
    log_in(processes.a, name, cookie=cookie)
    log_in(processes.b, name, cookie=cookie)
    assert ask_all(processes, "/api/logout", cookie) == {204}
    assert written(processes, cookie) == [("sessions_ended", session_of(cookie)["user_id"])]


def test_concurrent_logouts_everywhere_are_recorded_once(processes: Processes, name: str) -> None:
    cookies = [log_in(processes.a, name) for _ in range(2)]
    assert ask_all(processes, "/api/logout_all", *cookies) <= {204, 401}
    assert sum(len(written(processes, cookie)) for cookie in cookies) == 1
