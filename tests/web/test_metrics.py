"""`/metrics`: what it shows, who may read it, and that strangers can't make it grow."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from quart import Quart
from quart.typing import TestClientProtocol as Client

from quart_app.observed_request import UNMATCHED
from quart_app.services import Services
from quart_app.session.revocations import RevocationRow
from quart_app.settings import Settings
from quart_app.web.operations import request_counts
from tests.conftest import MakeApp, Member, log_in

LOOPBACK = ("127.0.0.1", 5000)
STRANGER = ("203.0.113.9", 5000)
MOST_SERIES = 500


async def scrape(client: Client, **headers: str) -> str:
    asked: Any = client
    answer = await asked.get("/metrics", scope_base={"client": LOOPBACK}, headers=headers)
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return str(await answer.get_data(as_text=True))


async def status_for(client: Any, peer: tuple[str, int] | None, **headers: str) -> int:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await client.get("/metrics", scope_base={"client": peer}, headers=given)
    return int(answer.status_code)


async def verify(app: Quart) -> None:
    """Ask /auth/verify, whose answer without a body Quart's client can't read."""
    scope: Any = {"type": "http", "method": "GET", "path": "/auth/verify/x", "headers": []}

    async def unused(*_: Any) -> Any:
        pass

    await app.asgi_app(scope, unused, unused)


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def value_of(text: str, name: str, **labels: str) -> float:
    return sum(
        value
        for each, its_labels, value in samples(text)
        if each == name and labels.items() <= its_labels.items()
    )


async def test_requests_are_counted_by_template_method_and_status(
    app: Quart, browser: Client, member: Member
) -> None:
    for platform_id in member.platform_ids:
        assert (await browser.get(f"/api/platforms/{platform_id}")).status_code == 200
    await browser.get("/api/platforms/99999")
    await browser.get("/no/such/page")
    await browser.head("/api/platforms/99999")
    await verify(app)
    text = await scrape(app.test_client())
    route = "/api/platforms/<id:platform_connection_id>"
    requests = "quart_app_requests_total"
    assert value_of(text, requests, route=route, method="GET", status="200") == 3
    assert value_of(text, requests, route=route, method="GET", status="404") == 2
    assert value_of(text, requests, route="unmatched", status="404") == 1
    assert value_of(text, requests, route="/auth/verify", status="401") == 1
    assert value_of(text, "quart_app_request_seconds_count", kind="api") == 6  # and the login
    assert value_of(text, "quart_app_request_seconds_count", kind="auth_verify") == 1
    assert 0 < value_of(text, "quart_app_route_seconds_total", route=route) < 60


async def test_logins_are_counted_by_result(app: Quart, member: Member) -> None:
    client = app.test_client()
    await log_in(client, member)
    for path, body in (
        ("/api/login", {"json": {"username": "ada", "password": "wrong"}}),
        ("/login", {"form": {"username": "nobody", "password": "wrong"}}),
    ):
        answer: Any = await client.post(path, **body)
        assert answer.status_code == 401
    text = await scrape(app.test_client())
    assert value_of(text, "quart_app_logins_total", result="success") == 1
    assert value_of(text, "quart_app_logins_total", result="bad_credentials") == 2


async def test_the_state_of_the_process_is_shown(app: Quart, browser: Client) -> None:
    services: Services = app.extensions["quart_app"]
    before = await scrape(app.test_client())
    turn = services.accounts.comparison.hashing_queue.slot(None)
    async with turn, browser.request("/api/session_events") as stream:
        await stream.send_complete()
        await stream.receive()
        during = await scrape(app.test_client())
        await stream.disconnect()
    assert value_of(before, "quart_app_hashing_queue_running") == 0
    assert value_of(during, "quart_app_hashing_queue_running") == 1
    assert value_of(before, "quart_app_event_streams") == 0
    assert value_of(during, "quart_app_event_streams") == 1
    await browser.post("/api/logout")
    after = await scrape(app.test_client())
    entries = "quart_app_revocation_list_entries"
    assert value_of(after, entries) == value_of(before, entries) + 1
    assert 0 <= value_of(after, "quart_app_revocation_list_age_seconds") < 10
    assert value_of(after, "quart_app_revocation_list_fresh") == 1
    assert value_of(after, "quart_app_database_connections_max", pool="requests") == 15
    assert value_of(after, "quart_app_database_connections", pool="requests") >= 1


async def test_each_background_task_is_shown(app: Quart) -> None:
    text = await scrape(app.test_client())
    tasks = {
        labels["task"]
        for name, labels, _ in samples(text)
        if name == "quart_app_background_runs_total"
    }
    assert {"flush_audit", "check_accounts", "purge_alerts", "purge_audit_entries"} <= tasks


async def test_the_lag_of_the_list_is_measured_at_each_confirmation(app: Quart) -> None:
    revocations = app.extensions["quart_app"].revocations
    before = value_of(await scrape(app.test_client()), "quart_app_revocation_lag_seconds_count")
    boot, wall = revocations.read_clocks()
    revocations.confirm((boot - 3, wall - 3))
    revocations.confirm((boot, wall))
    text = await scrape(app.test_client())
    assert value_of(text, "quart_app_revocation_lag_seconds_count") >= before + 2
    assert value_of(text, "quart_app_revocation_lag_seconds_sum") >= 3


async def test_two_applications_of_one_process_count_separately(
    settings: Settings, make_app: MakeApp
) -> None:
    one, other = await make_app(settings), await make_app(settings)
    await one.test_client().get("/healthz")
    name = "quart_app_requests_total"
    assert value_of(await scrape(one.test_client()), name, route="/healthz") == 1
    assert value_of(await scrape(other.test_client()), name, route="/healthz") == 0


@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_strangers_neither_add_many_series_nor_hide_successful_requests(
    app: Quart, browser: Client, visitor: Any, measured: Callable[[str], None]
) -> None:
    methods = ["GET", "HEAD", "POST", "OPTIONS", 'X"\n{}']
    kinds: list[dict[str, Any]] = [
        {},
        {"headers": {"Sec-Fetch-Site": "cross-site"}},
        {"headers": {"Content-Type": "multipart/form-data"}},
        {"headers": {"Content-Type": "application/json"}, "data": b"{"},
        {"data": b" " * 70_000},
        {"headers": {"Host": "\u00e9"}},
    ]
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    for number, rule in enumerate(rules):
        path = re.sub("<[^>]*>", "1", rule)
        for method in methods:
            for kind in kinds:
                await visitor.open(path, method=method, **kind)
        await visitor.open(f'/{number}\n{{}}"', method=f"M{number}")
    assert (await browser.get("/platforms")).status_code == 200
    text = await scrape(app.test_client())
    series = [name for name, _, _ in samples(text)]
    measured(f"/metrics after thousands of strange requests: {len(series)} series")
    assert len(series) < MOST_SERIES
    requests = [labels for name, labels, _ in samples(text) if name == "quart_app_requests_total"]
    others = {UNMATCHED, request_counts.OTHER}
    assert {labels["route"] for labels in requests} <= rules | others
    assert value_of(text, "quart_app_requests_total", route="/platforms", status="200") == 1


@pytest.mark.alone
@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_a_scrape_takes_less_than_20_ms_with_100_000_revocations(
    app: Quart, visitor: Any, measured: Callable[[str], None]
) -> None:
    for rule in app.url_map.iter_rules():
        for method in ("GET", "POST"):
            await visitor.open(re.sub("<[^>]*>", "1", rule.rule), method=method)
    later = datetime.now(UTC) + timedelta(days=30)
    app.extensions["quart_app"].revocations.apply(
        RevocationRow(number, f"sid{number}", None, None, None, later) for number in range(100_000)
    )
    client = app.test_client()
    durations = []
    for _ in range(20):
        began = time.perf_counter()
        text = await scrape(client)
        durations.append(time.perf_counter() - began)
    assert value_of(text, "quart_app_revocation_list_entries") >= 100_000
    best = min(durations)  # the others had to share the processor
    count = len(list(samples(text)))
    measured(f"/metrics, {count} series, 100,000 revocations: {best * 1000:.1f} ms, best of 20")
    assert best < 0.02


@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_only_this_machine_may_read_by_default(visitor: Client) -> None:
    for peer in (LOOPBACK, ("::1", 1), ("127.8.9.1", 1), ("::ffff:127.0.0.1", 1)):
        assert await status_for(visitor, peer) == 200
    for other in (STRANGER, ("::ffff:203.0.113.9", 1), ("10.0.0.1", 1), ("", 0), ("x", 1), None):
        assert await status_for(visitor, other) == 404


@pytest.mark.parametrize("engine_name", ["sqlite"])
@pytest.mark.parametrize(
    "header",
    [
        "X_Forwarded_For",
        "x_forwarded_proto",
        "X_Forwarded_Anything",
        "Forwarded",
        "Via",
        "X_Real_IP",
    ],
)
async def test_a_proxy_on_this_machine_does_not_open_them_to_its_clients(
    visitor: Client, header: str
) -> None:
    assert await status_for(visitor, LOOPBACK, **{header: ""}) == 404


@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_loopback_is_closed_behind_a_trusted_proxy(
    settings: Settings, make_app: MakeApp
) -> None:
    app = await make_app(replace(settings, trusted_proxies=1))
    client = app.test_client()
    assert await status_for(client, LOOPBACK) == 404
    assert await status_for(client, LOOPBACK, X_Forwarded_For="127.0.0.1") == 404
    opened = await make_app(replace(settings, trusted_proxies=1, metrics="on"))
    assert await status_for(opened.test_client(), STRANGER, X_Forwarded_For="1.2.3.4") == 200


@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_metrics_can_be_off(settings: Settings, make_app: MakeApp) -> None:
    app = await make_app(replace(settings, metrics="off"))
    assert await status_for(app.test_client(), LOOPBACK) == 404
