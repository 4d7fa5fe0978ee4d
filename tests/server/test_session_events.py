"""Event streams of real processes: events, their delay, and the end of a stream."""

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from quart_app.services.sessions.events import MAX_STREAMS_PER_SESSION
from quart_app.settings import Settings
from quart_app.web.connections.draining import IDLE_SECONDS
from tests.cases import first_unless_thorough
from tests.event_streams import PATH, Listener, listening
from tests.processes import (
    ENDED_WITHIN_SECONDS,
    Processes,
    connect,
    log_in,
    log_out,
    new_user,
)
from tests.servers import hypercorn

CLOSED_WITHIN_SECONDS = 2
Measured = Callable[[str], None]

# Tests with a time limit are marked `alone`.
pytestmark = pytest.mark.untimed


@pytest.mark.alone
def test_every_process_streams_switches_and_changed_connections(
    processes: Processes, name: str, measured: Measured
) -> None:
    cookie, other = log_in(processes.a, name), log_in(processes.b, name)
    stranger = log_in(processes.b, processes.new_user())
    took = []
    with ExitStack() as stack:
        of_session = [stack.enter_context(listening(each, cookie)) for each in processes]
        of_other = [stack.enter_context(listening(each, other)) for each in processes]
        of_stranger = stack.enter_context(listening(processes.a, stranger))

        def all_hear(kind: str, listeners: list[Listener], since: float, **data: int) -> None:
            for listener in listeners:
                heard = listener.next()
                assert (heard.kind, heard.data) == (kind, data)
                took.append(heard.at - since)

        everybody = [*of_session, *of_other]
        id_ = connect(processes.a, cookie, "First")
        all_hear("platforms", everybody, time.monotonic())
        path = f"/api/platforms/{id_}"
        for method, where, body in (
            ("PATCH", path, {"name": "Another name"}),
            ("PATCH", path, {"is_active": False}),
            ("PATCH", path, {"is_active": True}),
            ("POST", f"{path}/default", None),
        ):
            response = processes.b.ask(method, where, cookie, json=body or {})
            assert response.status_code == 200
            all_hear("platforms", everybody, time.monotonic())
        assert processes.a.ask("POST", f"{path}/switch", cookie).status_code == 200
        all_hear("platform", of_session, time.monotonic(), platform_connection_id=id_)
        assert processes.a.ask("DELETE", path, cookie).status_code == 204
        # The other session got no event of the switch, nor the other user any event.
        all_hear("platforms", everybody, time.monotonic())
        assert of_stranger.events.empty()
    engine = processes.settings.database_url.get_backend_name()
    measured(f"streams reported a change after {max(took) * 1000:.0f} ms ({engine})")
    assert max(took) < ENDED_WITHIN_SECONDS


def test_a_new_stream_begins_with_the_latest_events(processes: Processes, name: str) -> None:
    cookie = log_in(processes.a, name)
    connect(processes.a, cookie, "First")
    time.sleep(1)  # known on the other process
    with listening(processes.b, cookie) as listener:
        assert listener.next().kind == "platforms"


ENDS: dict[str, tuple[Callable[[Processes, str, str], object], str]] = {
    "log out": (lambda processes, cookie, _: log_out(processes.a, cookie), "logged_out"),
    "log out everywhere": (
        lambda processes, cookie, _: log_out(processes.a, cookie, everywhere=True),
        "logged_out_everywhere",
    ),
    "by the command line": (
        lambda processes, _, name: processes.run("sessions", "end", name),
        "administrator",
    ),
    "log in again": (
        lambda processes, cookie, name: log_in(processes.a, name, cookie=cookie),
        "replaced",
    ),
}


@pytest.mark.alone
@pytest.mark.parametrize("how", first_unless_thorough(2, list(ENDS)))
def test_ending_the_session_ends_its_streams(
    processes: Processes, name: str, how: str, measured: Measured
) -> None:
    end, reason = ENDS[how]
    cookie, bystander = log_in(processes.a, name), log_in(processes.a, processes.new_user())
    with ExitStack() as stack:
        listeners = [stack.enter_context(listening(each, cookie)) for each in processes]
        other = stack.enter_context(listening(processes.b, bystander))
        end(processes, cookie, name)
        since, took = time.monotonic(), []
        for listener in listeners:
            heard = listener.next()
            assert (heard.kind, heard.data) == ("ended", {"reason": reason})
            took.append(heard.at - since)
            assert listener.next().kind == "closed"
        assert max(took) < ENDED_WITHIN_SECONDS
        for server in processes:
            assert server.ask("GET", PATH, cookie).status_code == 401
        assert other.events.empty()
    measured(f"streams ended after {max(0, *took) * 1000:.0f} ms: {how}")


def test_the_number_of_streams_per_user_is_limited(processes: Processes, name: str) -> None:
    cookie = log_in(processes.a, name)
    with ExitStack() as stack:
        for _ in range(MAX_STREAMS_PER_SESSION):
            stack.enter_context(listening(processes.a, cookie))
        response = processes.a.ask("GET", PATH, cookie)
        assert response.status_code == 429
        assert response.json()["code"] == "too_many_streams"
        assert response.headers["Retry-After"]
        assert processes.a.status(cookie) == 200
        with listening(processes.b, cookie):  # each process counts its own streams
            pass
    deadline = time.monotonic() + 5
    while True:  # a closed stream frees its place
        with (
            httpx2.Client() as client,
            client.stream(
                "GET", f"{processes.a.url}{PATH}", headers={"Cookie": f"session={cookie}"}
            ) as stream,
        ):
            if stream.status_code == 200:
                break
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.sqlite_unless_thorough  # they do not depend on the engine
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("worker_class", ["asyncio", "uvloop"])
def test_open_streams_do_not_delay_a_servers_shutdown(
    settings: Settings,
    tmp_path: Path,
    number: signal.Signals,
    worker_class: str,
    measured: Measured,
) -> None:
    name = new_user(settings)
    with hypercorn(settings, tmp_path, worker_class=worker_class) as server, ExitStack() as stack:
        cookie = log_in(server, name)
        listeners = [stack.enter_context(listening(server, cookie)) for _ in range(3)]
        since = time.monotonic()
        server.process.send_signal(number)
        for listener in listeners:  # without an event, because the session continues
            assert listener.next().kind == "closed"
        took = time.monotonic() - since
        server.client.close()  # the server waits for the next request of a kept connection
        assert server.process.wait(30) == 0
        ended = time.monotonic() - since
    measured(
        f"{number.name} closed streams ({worker_class}) after {took:.1f} s, and the process ended"
        f" after {ended:.1f} s"
    )
    assert took < CLOSED_WITHIN_SECONDS
    assert ended < IDLE_SECONDS + CLOSED_WITHIN_SECONDS


@pytest.mark.sqlite_unless_thorough
def test_a_stream_ends_at_its_sessions_limits(settings: Settings, tmp_path: Path) -> None:
    name = new_user(settings)
    environ = {
        "QUART_APP_SESSION_IDLE_SECONDS": "3",
        "QUART_APP_SESSION_ABSOLUTE_SECONDS": "6",
        "QUART_APP_SESSION_RENEWAL_SECONDS": "1",
    }
    with hypercorn(settings, tmp_path, environ=environ) as server:
        cookie = log_in(server, name)
        began = time.monotonic()
        with listening(server, cookie) as listener:  # which is not activity
            assert listener.next()[:2] == ("ended", {"reason": "idle"})
            assert 2.5 < time.monotonic() - began < 4.5
            assert listener.next().kind == "closed"
        assert server.ask("GET", PATH, cookie).status_code == 401

        cookie = log_in(server, name)
        began = time.monotonic()
        with listening(server, cookie) as listener:
            activity = ""
            while listener.events.empty():
                response = server.client.post(
                    "/api/session/renew", headers={"Cookie": f"session={cookie}{activity}"}
                )
                if response.status_code == 401:
                    break
                line = response.headers["Set-Cookie"]
                activity = f"; {line.partition(';')[0]}"
                assert line.startswith("session_activity=")
                time.sleep(0.5)
            assert listener.next()[:2] == ("ended", {"reason": "expired"})
            assert 5.5 < time.monotonic() - began < 7.5
