"""Whatever ends a session ends it on every process, and ends no other."""

import time
from collections.abc import Callable

import pytest

from tests.conftest import PASSWORD
from tests.processes import Processes, cookie_of, log_in, log_out, seconds_until_refused
from tests.servers import Server

NEW_PASSWORD = "incorrect donkey charger paperclip"

# Each ends something, as the user whose name and cookie are given, and returns when it began to.
Cause = Callable[[Processes, str, str], float]


def log_out_here(processes: Processes, _name: str, cookie: str) -> float:
    since = time.monotonic()
    log_out(processes.a, cookie)
    return since


def log_out_by_form(processes: Processes, _name: str, cookie: str) -> float:
    since = time.monotonic()
    assert processes.a.ask("POST", "/logout", cookie).status_code == 303
    return since


def log_in_again(processes: Processes, name: str, cookie: str) -> float:
    since = time.monotonic()
    new_cookie = log_in(processes.a, name, cookie=cookie)
    assert [server.status(new_cookie) for server in processes] == [200, 200]
    return since


def log_out_everywhere(processes: Processes, _name: str, cookie: str) -> float:
    since = time.monotonic()
    log_out(processes.a, cookie, everywhere=True)
    return since


def change_password(processes: Processes, _name: str, cookie: str) -> float:
    since = time.monotonic()
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    response = processes.a.ask("POST", "/api/account/password", cookie, json=body)
    assert response.status_code == 204
    new_cookie = cookie_of(response)
    assert new_cookie
    assert [server.status(new_cookie) for server in processes] == [200, 200]
    return since


def by_command(*arguments: str, typed: str = "") -> Cause:
    """Administer from the command line: that it has ended is true once the command has."""

    def administer(processes: Processes, name: str, _cookie: str) -> float:
        processes.run(*(each.format(name=name) for each in arguments), typed=typed)
        return time.monotonic()

    return administer


reset_password = by_command("user", "passwd", "{name}", "--password-stdin", typed=NEW_PASSWORD)
deactivate = by_command("user", "deactivate", "{name}")
end_sessions_of_user = by_command("sessions", "end", "{name}")
end_sessions_of_everybody = by_command("sessions", "end", "--all")


def can_log_in(server: Server, name: str, password: str) -> bool:
    body = {"username": name, "password": password}
    response = server.ask("POST", "/api/login", json=body)
    assert response.status_code in {200, 401}
    return response.status_code == 200


@pytest.mark.parametrize("cause", [log_out_here, log_out_by_form, log_in_again])
def test_what_ends_one_session_ends_its_copy_elsewhere_and_no_other(
    processes: Processes, name: str, cause: Cause
) -> None:
    cookie, other_device = log_in(processes.a, name), log_in(processes.b, name)
    assert processes.b.status(cookie) == 200
    since = cause(processes, name, cookie)
    assert processes.a.status(cookie) == 401  # here at once
    seconds_until_refused(processes.b, cookie, since=since)
    assert [server.status(other_device) for server in processes] == [200, 200]


@pytest.mark.parametrize(
    ("cause", "password"),
    [
        (log_out_everywhere, PASSWORD),
        (change_password, NEW_PASSWORD),
        (reset_password, NEW_PASSWORD),
        (deactivate, None),
        (end_sessions_of_user, PASSWORD),
    ],
)
def test_what_ends_all_sessions_of_a_user_ends_those_of_other_devices_elsewhere(
    processes: Processes, name: str, cause: Cause, password: str | None
) -> None:
    cookie, other_device = log_in(processes.a, name), log_in(processes.b, name)
    somebody_else = log_in(processes.a, processes.new_user())
    assert processes.b.status(other_device) == 200
    since = cause(processes, name, cookie)
    for server in processes:
        for copied in (cookie, other_device):
            seconds_until_refused(server, copied, since=since)
    assert [server.status(somebody_else) for server in processes] == [200, 200]
    for server in processes:
        for given in (PASSWORD, NEW_PASSWORD):
            assert can_log_in(server, name, given) is (given == password)


def test_what_ends_everybodys_sessions_ends_them_on_every_process(
    processes: Processes, name: str
) -> None:
    copied = [log_in(processes.a, name), log_in(processes.b, processes.new_user())]
    since = end_sessions_of_everybody(processes, name, copied[0])
    afterwards = log_in(processes.a, name)
    for server in processes:
        for cookie in copied:
            seconds_until_refused(server, cookie, since=since)
    assert [server.status(afterwards) for server in processes] == [200, 200]


def test_a_login_right_after_a_logout_everywhere_is_alive(processes: Processes, name: str) -> None:
    cookie = log_in(processes.a, name)
    since = time.monotonic()
    log_out(processes.a, cookie, everywhere=True)
    afterwards = [log_in(server, name) for server in (processes.a, processes.b)]
    assert time.monotonic() - since < 1  # in the same second
    for server in processes:
        seconds_until_refused(server, cookie, since=since)
        assert [server.status(each) for each in afterwards] == [200, 200]
