"""The dashboard and the alert rules of deploy/ name only metrics and labels that exist."""

import json
import re
from collections import defaultdict

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client

from tests.deployment import DEPLOY
from tests.web.test_metrics import samples, scrape

ADDED_BY_PROMETHEUS = {"job", "instance"}
# What is in an expression and no metric: functions have a parenthesis, labels are in braces.
_METRIC = re.compile(r"\b((?:quart_app|process)_\w+)(?:\{([^}]*)\})?")


def expressions() -> list[str]:
    board = json.loads((DEPLOY / "grafana/quart_app.json").read_text())
    variables = [each["query"] for each in board["templating"]["list"]]
    queries = [each["query"] for each in variables if isinstance(each, dict)]
    shown = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = (DEPLOY / "prometheus/alerts.yml").read_text()
    alerts = re.findall(r"expr: ((?:.|\n)*?)\n {8}(?:for|labels):", rules)
    assert len(alerts) == rules.count("- alert:")
    return [*queries, *shown, *alerts]


def named_metrics() -> dict[str, set[str]]:
    """Return the labels that the files use, by metric."""
    named: dict[str, set[str]] = defaultdict(set)
    for expression in expressions():
        for name, selectors in _METRIC.findall(expression):
            named[name] |= set(re.findall(r"(\w+)(?:=|!)", selectors))
    return named


@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_every_metric_that_the_files_name_is_in_a_scrape(app: Quart, browser: Client) -> None:
    assert (await browser.get("/platforms")).status_code == 200
    shown: dict[str, set[str]] = defaultdict(set)
    for name, labels, _ in samples(await scrape(app.test_client())):
        shown[name] |= labels.keys() | ADDED_BY_PROMETHEUS
    named = named_metrics()
    assert len(named) > 20
    assert not named.keys() - shown.keys()
    wrong = {name: labels - shown[name] for name, labels in named.items() if labels - shown[name]}
    assert not wrong


@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_every_metric_of_the_application_is_on_the_dashboard(
    app: Quart, browser: Client
) -> None:
    assert (await browser.get("/platforms")).status_code == 200
    board = (DEPLOY / "grafana/quart_app.json").read_text()
    names = {name for name, _, _ in samples(await scrape(app.test_client()))}
    ours = {re.sub("_(bucket|sum|count)$", "", name) for name in names if name.startswith("quart")}
    assert [name for name in sorted(ours) if name not in board] == []
