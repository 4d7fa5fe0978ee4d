"""Prometheus with the files of deploy/: each alert fires and is silent, and processes are read."""

import re
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import URL

from quart_app.settings import with_setting
from tests.conftest import settings_for
from tests.deployment import DEPLOY, with_replaced
from tests.listening import free_port, program_of, running
from tests.server.test_deployment import assert_accepted
from tests.servers import hypercorns

PART = "Prometheus (Debian's package prometheus)"
READ_WITHIN_SECONDS = 30
RULES = DEPLOY / "prometheus/alerts.yml"


@pytest.fixture
def promtool(pytestconfig: pytest.Config) -> str:
    return program_of(pytestconfig, "promtool", PART)


def test_each_rule_fires_in_one_case_and_is_silent_in_another(promtool: str) -> None:
    assert_accepted(promtool, "test", "rules", DEPLOY / "prometheus/alerts_test.yml")
    cases = (DEPLOY / "prometheus/alerts_test.yml").read_text()
    expected = re.findall(r"alertname: (\w+)\n +exp_alerts:( \[\])?", cases)
    seen = {(name, bool(empty)) for name, empty in expected}
    rules = re.findall(r"- alert: (\w+)", RULES.read_text())
    assert seen == {(name, is_silent) for name in rules for is_silent in (True, False)}


def test_the_manual_names_each_alert() -> None:
    page = (DEPLOY.parent / "docs/monitoring.md").read_text()
    rules = re.findall(r"- alert: (\w+)", RULES.read_text())
    assert re.findall(r"(?m)^\| `(QuartApp\w+)`", page) == rules


def test_prometheus_reads_every_process(
    migrated_sqlite: Path, tmp_path: Path, promtool: str, pytestconfig: pytest.Config
) -> None:
    program = program_of(pytestconfig, "prometheus", PART)
    url = URL.create("sqlite+aiosqlite", database=str(migrated_sqlite))
    settings = with_setting(settings_for(url), metrics="on", trusted_proxies=1)
    with hypercorns(2, settings, tmp_path) as servers:
        addresses = [server.url.removeprefix("http://") for server in servers]
        text = with_replaced(
            "prometheus/prometheus.yml",
            {
                "127.0.1.0:8000": addresses[0],
                "127.0.1.1:8000": addresses[1],
                "scrape_interval: 15s": "scrape_interval: 1s",
            },
        )
        (tmp_path / "prometheus.yml").write_text(text)
        (tmp_path / "alerts.yml").symlink_to(RULES)
        assert_accepted(promtool, "check", "config", tmp_path / "prometheus.yml")
        port = free_port()
        command = [
            *(program, f"--config.file={tmp_path}/prometheus.yml"),
            *(f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"),
        ]
        with running(command, [port], tmp_path / "log"):
            query = "quart_app_revocation_list_fresh == 1"
            assert wait_for_instances(port, query) == set(addresses)


def wait_for_instances(port: int, query: str) -> set[str]:
    """Return the processes for which a query has a result, as soon as there are two."""
    until = time.monotonic() + READ_WITHIN_SECONDS
    while True:
        url = f"http://127.0.0.1:{port}/api/v1/query"
        answer: Any = httpx2.get(url, params={"query": query}).json()
        results = answer.get("data", {}).get("result", [])
        if len(results) == 2:
            return {result["metric"]["instance"] for result in results}
        assert time.monotonic() < until, answer
        time.sleep(0.2)
