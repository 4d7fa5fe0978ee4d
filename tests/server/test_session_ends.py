"""Every cause that ends sessions ends exactly those, on every process."""

import time

import pytest

from tests.cases import first_unless_thorough
from tests.conftest import PASSWORD
from tests.end_causes import CAUSES, NEW_PASSWORD, OTHER, OWN, SOMEBODYS, Scene
from tests.processes import Processes, log_in, log_out, seconds_until_refused
from tests.servers import Server

# One of each kind.
FIRST = [
    *("log out", "log in again", "log out everywhere", "change the password", "remove all others"),
    *("the fifty-first login", "administrator, everybody's", "sessions end NAME", "a reset link"),
]


@pytest.mark.sqlite_unless_thorough  # other tests cover both engines
@pytest.mark.parametrize(
    "ended_by", first_unless_thorough(9, [*FIRST, *sorted(CAUSES.keys() - set(FIRST))])
)
def test_each_cause_ends_exactly_its_sessions_on_every_process(
    processes: Processes, name: str, ended_by: str
) -> None:
    cause = CAUSES[ended_by]
    cookies = {
        OWN: log_in(processes.a, name),
        OTHER: log_in(processes.b, name),
        SOMEBODYS: log_in(processes.a, processes.new_user()),
    }
    for cookie in cookies.values():
        assert [server.status(cookie) for server in processes] == [200, 200]
    since = cause.bring_about(Scene(processes, name, cookies[OWN], cookies[OTHER]))
    for server in processes:
        for whose in cause.ends:
            seconds_until_refused(server, cookies[whose], since=since)
        for whose in cookies.keys() - cause.ends:
            assert server.status(cookies[whose]) == 200
    for given in (PASSWORD, NEW_PASSWORD):
        assert can_log_in(processes.b, name, given) is (given == cause.password)


def can_log_in(server: Server, name: str, password: str) -> bool:
    body = {"username": name, "password": password}
    response = server.ask("POST", "/api/login", json=body)
    assert response.status_code in {200, 401}
    return response.status_code == 200


def test_a_login_right_after_a_logout_everywhere_stays_valid(
    processes: Processes, name: str
) -> None:
    cookie = log_in(processes.a, name)
    since = time.monotonic()
    log_out(processes.a, cookie, everywhere=True)
    afterwards = [log_in(server, name) for server in (processes.a, processes.b)]
    assert time.monotonic() - since < 1  # in the same second
    for server in processes:
        seconds_until_refused(server, cookie, since=since)
        assert [server.status(each) for each in afterwards] == [200, 200]
