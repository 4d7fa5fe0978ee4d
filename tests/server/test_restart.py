"""A restart loses no request: not on kept or new connections, and not behind a proxy.

Two processes share an inherited socket. The new process runs before the old one stops.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import URL

from quart_app.settings import Settings
from quart_app.web.pipeline.headers import CSP_REPORTS_PATH
from tests.conftest import settings_for
from tests.listening import free_port
from tests.load import Load, Request, run_http1, run_http2
from tests.proxies import haproxy, nginx
from tests.restarts import Service, service
from tests.servers import APP, hypercorn

_CHECKED_AFTER_SECONDS = 2.0  # then HAProxy's checks have found a process that was started
_STOCK = "tests.stock_application:create_app()"
_REPORT = json.dumps({"csp-report": {"violated-directive": "img-src"}}).encode()
_REQUESTS = (
    Request("GET", "/healthz"),
    Request("POST", CSP_REPORTS_PATH, (("Content-Type", "application/csp-report"),), _REPORT),
)
# Both close idle connections to the application after less than draining.IDLE_SECONDS, and they
# never send a request to it a second time.
_NGINX = """
upstream application {{
  server 127.0.0.1:{application};
  keepalive 16;
  keepalive_timeout 4s;
}}
server {{
  listen 127.0.0.1:{http1};
  listen 127.0.0.1:{http2} http2;
  location / {{
    proxy_pass http://application;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_next_upstream off;
  }}
}}
"""
_HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 90s
  timeout server 90s
  retries 0
  http-reuse always
listen http1
  bind 127.0.0.1:{http1}
  server application 127.0.0.1:{application} pool-purge-delay 1s
listen http2
  bind 127.0.0.1:{http2} proto h2
  server application 127.0.0.1:{application} proto h2 pool-purge-delay 1s
"""
_NGINX_TWO = """
upstream application {{
  server 127.0.0.1:{first} max_fails=0;
  server 127.0.0.1:{second} max_fails=0;
  keepalive 16;
  keepalive_timeout 4s;
}}
server {{
  listen 127.0.0.1:{http1};
  location / {{
    proxy_pass http://application;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
  }}
}}
"""
_HAPROXY_TWO = """
defaults
  mode http
  timeout connect 5s
  timeout client 90s
  timeout server 90s
  option redispatch 1
  retries 3
listen http1
  bind 127.0.0.1:{http1}
  option httpchk GET /readyz
  http-check send hdr Host localhost
  default-server check inter 500ms pool-purge-delay 1s
  server first 127.0.0.1:{first}
  server second 127.0.0.1:{second}
"""


@pytest.fixture
def settings(migrated_sqlite: Path) -> Settings:
    """Settings with a database that no test changes."""
    return settings_for(URL.create("sqlite+aiosqlite", database=str(migrated_sqlite)))


@dataclass(frozen=True)
class Outcome:
    """What became of all requests, by way: "HTTP/2 behind nginx"."""

    answered: Counter[str]
    failures: dict[str, Counter[str]]

    @property
    def failed(self) -> int:
        return sum(each.total() for each in self.failures.values())


@contextmanager
def ways_to(config: pytest.Config, port: int) -> Iterator[dict[str, int]]:
    """Start both proxies in front of a port, and yield the port of each way to it."""
    ports = [free_port() for _ in range(4)]
    names = [
        f"HTTP/{version} behind {proxy}" for proxy in ("nginx", "HAProxy") for version in (1, 2)
    ]
    with ExitStack() as stack:
        for start, template, (http1, http2) in (
            (nginx, _NGINX, ports[:2]),
            (haproxy, _HAPROXY, ports[2:]),
        ):
            text = template.format(application=port, http1=http1, http2=http2)
            stack.enter_context(start(config, text, [http1, http2]))
        yield {"HTTP/1": port, "HTTP/2": port} | dict(zip(names, ports, strict=True))


@asynccontextmanager
async def in_use(ways: dict[str, int]) -> AsyncIterator[dict[str, Load]]:
    """Use all ways until the block ends, and wait for the last answers."""
    loads = {way: Load(port, _REQUESTS) for way, port in ways.items()}
    async with asyncio.TaskGroup() as tasks:
        for way, load in loads.items():
            if way.startswith("HTTP/2"):
                tasks.create_task(run_http2(load, connections=1))
            else:
                tasks.create_task(run_http1(load, kept=4, new=1))
        yield loads
        for load in loads.values():
            load.is_over = True


def outcome_of(loads: dict[str, Load]) -> Outcome:
    """Return what became of all requests."""
    return Outcome(
        Counter({way: load.answered for way, load in loads.items()}),
        {way: load.failures for way, load in loads.items() if load.failures},
    )


async def restarted_in_use(
    served: Service, ways: dict[str, int], times: int, *, answers: int = 0
) -> Outcome:
    """Restart the service this often while all ways are used, spread over all these answers."""
    async with in_use(ways) as loads:
        for number in range(1, times + 1):
            await asyncio.to_thread(served.restart)
            while sum(load.answered for load in loads.values()) < answers * number / times:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    return outcome_of(loads)


@pytest.mark.alone
@pytest.mark.parametrize(
    ("worker_class", "times", "least"),
    [
        ("asyncio", 3, 0),
        pytest.param(
            "asyncio", 20, 100_000, marks=[pytest.mark.thorough, pytest.mark.timeout(1800)]
        ),
        pytest.param("uvloop", 20, 0, marks=pytest.mark.thorough),
    ],
)
async def test_restarts_lose_no_request(
    settings: Settings,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    measured: Callable[[str], None],
    *,
    worker_class: str,
    times: int,
    least: int,
) -> None:
    with (
        service(settings, tmp_path, app=APP, worker_class=worker_class) as served,
        ways_to(pytestconfig, served.port) as ways,
    ):
        outcome = await restarted_in_use(served, ways, times, answers=least)
        ended = [process.returncode for process in served.processes[:-1]]
        logs = [served.log(number).read_text() for number in range(times + 1)]
    measured(
        f"{times} restarts ({worker_class}): {outcome.failed} of {outcome.answered.total():,}"
        f" requests lost; {dict(outcome.answered)}"
    )
    assert not outcome.failures
    assert all(outcome.answered[way] for way in ways)
    assert ended == [0] * times
    assert not [log for log in logs if "Traceback" in log]


@pytest.mark.thorough
@pytest.mark.alone
async def test_restarts_of_stock_hypercorn_lose_requests(
    settings: Settings,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    measured: Callable[[str], None],
) -> None:
    """The test above can fail."""
    with (
        service(settings, tmp_path, app=_STOCK) as served,
        ways_to(pytestconfig, served.port) as ways,
    ):
        outcome = await restarted_in_use(served, ways, 5)
    lost = {way: each.total() for way, each in outcome.failures.items()}
    measured(
        f"5 restarts of stock Hypercorn: {outcome.failed} of"
        f" {outcome.answered.total() + outcome.failed:,} requests lost; {lost}"
    )
    assert outcome.failed


@pytest.mark.thorough
@pytest.mark.alone
async def test_processes_with_addresses_of_their_own_lose_no_request_behind_a_proxy(
    settings: Settings,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    measured: Callable[[str], None],
) -> None:
    """As in containers: nothing listens at a stopped process, and the proxy tries the other."""
    first, second = free_port(), free_port()
    ways = {"nginx": free_port(), "HAProxy": free_port()}

    async def restart(port: int) -> None:
        await asyncio.to_thread(processes.pop(port).close)
        processes[port] = await asyncio.to_thread(started, port)
        await asyncio.sleep(_CHECKED_AFTER_SECONDS)

    def started(port: int) -> ExitStack:
        stack = ExitStack()
        stack.enter_context(hypercorn(settings, tmp_path, port=port))
        return stack

    with ExitStack() as proxies:
        processes = {port: started(port) for port in (first, second)}
        for start, template, port in (
            (nginx, _NGINX_TWO, ways["nginx"]),
            (haproxy, _HAPROXY_TWO, ways["HAProxy"]),
        ):
            text = template.format(first=first, second=second, http1=port)
            proxies.enter_context(start(pytestconfig, text, [port]))
        async with in_use(ways) as loads:
            for _ in range(5):
                await restart(first)
                await restart(second)
        for process in processes.values():
            process.close()
    outcome = outcome_of(loads)
    measured(
        f"10 restarts of processes with addresses of their own: {outcome.failed} of"
        f" {outcome.answered.total():,} requests lost; {dict(outcome.answered)}"
    )
    assert not outcome.failures
    assert all(outcome.answered[way] for way in ways)
