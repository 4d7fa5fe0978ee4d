"""/auth/verify and the application give the same verdict on any cookie, in each HTTP version."""

import http.client
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from random import Random
from typing import NamedTuple

import pytest

from tests.conftest import migrated_database, settings_for
from tests.cookie_mutations import activities, cookie_headers, variants
from tests.processes import connect, cookie_of, log_in, log_out, new_user
from tests.server.test_http2 import Client, with_field
from tests.servers import Server, hypercorn

VERIFY, STATE = "/auth/verify", "/api/session_state"
_BATCH = 20  # the answers of one HTTP/2 connection must fit into its window
Cookies = Sequence[bytes]


class Answer(NamedTuple):
    """An answer; a header that it does not have is None."""

    status: int
    user_id: str | None
    platform_connection_id: str | None
    body: bytes


class Visited(NamedTuple):
    """A server, and values of the session cookie and the activity cookie, live and not."""

    server: Server
    sessions: list[str]
    activities: list[str]


@pytest.fixture(scope="module")
def visited(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Visited]:
    folder = tmp_path_factory.mktemp("auth_verify")
    with migrated_database("sqlite", request, folder) as url:
        settings = settings_for(url)
        with hypercorn(settings, folder) as server:
            ada, ben = new_user(settings), new_user(settings)
            plain, connected = log_in(server, ada), log_in(server, ben)
            switch = f"/api/platforms/{connect(server, connected, 'Photos')}/switch"
            connected = cookie_of(server.ask("POST", switch, connected)) or ""
            gone, gone_everywhere = log_in(server, ada), log_in(server, new_user(settings))
            log_out(server, gone)
            log_out(server, gone_everywhere, everywhere=True)
            cookies = [plain, connected, gone, gone_everywhere]
            yield Visited(
                server,
                [each for cookie in cookies for each in [*[cookie] * 10, *variants(cookie)]],
                [each for cookie in cookies for each in activities(cookie)],
            )
        assert "Traceback" not in server.log.read_text()


def over_http1(server: Server, asked: Sequence[Cookies]) -> list[tuple[Answer, Answer]]:
    """Ask for both verdicts on each of these Cookie headers, on a kept connection."""
    with closing(http.client.HTTPConnection(server.url.removeprefix("http://"))) as connection:

        def ask(path: str, cookies: Cookies) -> Answer:
            connection.putrequest("GET", path)
            for cookie in cookies:
                connection.putheader("Cookie", cookie)
            connection.endheaders()
            response = connection.getresponse()
            user_id = response.getheader("X-User-Id")
            platform_connection_id = response.getheader("X-Platform-Connection-Id")
            return Answer(response.status, user_id, platform_connection_id, response.read())

        return [(ask(VERIFY, cookies), ask(STATE, cookies)) for cookies in asked]


def over_http2(server: Server, asked: Sequence[Cookies]) -> list[tuple[Answer, Answer]]:
    """Ask for both verdicts on each of these Cookie headers, all at once."""
    answers: list[Answer] = []
    for at in range(0, len(asked), _BATCH):
        with closing(Client(server)) as client:
            for number, cookies in enumerate(asked[at : at + _BATCH]):
                for offset, path in ((1, VERIFY), (3, STATE)):
                    fields = with_field(b":path", path.encode())
                    client.ask(4 * number + offset, [*fields, *((b"cookie", c) for c in cookies)])
            streams = range(1, 4 * len(asked[at : at + _BATCH]) + 1, 2)
            client.read_until(lambda: set(streams) <= client.ended | client.resets)  # noqa: B023
            answers += [http2_answer(client, stream) for stream in streams]
    return list(zip(answers[::2], answers[1::2], strict=True))


def http2_answer(client: Client, stream: int) -> Answer:
    fields = client.fields[stream]
    user_id, platform_connection_id = (
        None if (value := fields.get(name)) is None else value.decode()
        for name in (b"x-user-id", b"x-platform-connection-id")
    )
    body = client.bodies.get(stream, b"")
    return Answer(client.statuses[stream], user_id, platform_connection_id, body)


def expected(state: Answer) -> tuple[int, str | None, str | None]:
    """Return what /auth/verify must answer where the application answers like this."""
    body = json.loads(state.body) if state.body else {}
    if state.status == 200:
        platform_connection_id = body["platform_connection_id"]
        return (
            204,
            str(body["user_id"]),
            "" if platform_connection_id is None else str(platform_connection_id),
        )
    if body.get("code") == "too_many_cookies":
        return 403, "", ""
    if state.status in {401, 503}:
        return state.status, "", ""
    return state.status, None, None  # refused by the server itself


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("ask", [over_http1, over_http2])
def test_any_cookie_has_the_verdict_of_the_application(
    visited: Visited,
    ask: Callable[[Server, Sequence[Cookies]], list[tuple[Answer, Answer]]],
    thorough: bool,  # noqa: FBT001 a fixture
    measured: Callable[[str], None],
) -> None:
    seed = secrets.randbits(32)
    random, count = Random(seed), 10_000 if thorough else 1000  # noqa: S311
    headers = cookie_headers(random, visited.sessions, visited.activities)
    asked = list(islice(headers, count))
    seen: Counter[int] = Counter()
    for cookies, (verdict, state) in zip(asked, ask(visited.server, asked), strict=True):
        assert verdict[:3] == expected(state), f"seed {seed}: {cookies}"
        seen[verdict.status] += 1
    assert {204, 401, 403} <= set(seen), seen
    assert min(seen[204], seen[401], seen[403]) > count / 50, seen
    found = ", ".join(f"{number} times {status}" for status, number in sorted(seen.items()))
    measured(f"{ask.__name__}: {count:,} cookies have the application's verdict: {found}")
