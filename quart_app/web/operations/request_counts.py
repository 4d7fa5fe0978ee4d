"""Counts of requests for metrics: how many, by route, method and status, and how long they took.

The number of series is bounded, whatever strangers send. A route is a template, and a method is one
of those that routes have. Refusals have a bound of their own, so that nobody can use up the series
of successful requests.

The library's own counters take locks and look up labels. These are plain numbers, because one
thread answers all requests, and each request pays for this.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

OTHER: Final = "other"
MOST_SUCCESSES: Final = 150  # series; every route has one, and some have more
MOST_REFUSALS: Final = 80
_FIRST_REFUSAL: Final = 400
# The methods of routes; a HEAD is a GET without the body. Strangers may send other methods.
_METHODS: Final = {name: name for name in ("GET", "POST", "PUT", "PATCH", "DELETE")} | {
    "HEAD": "GET"
}
_BUCKETS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_BUCKET_NAMES: Final = (*map(str, _BUCKETS_SECONDS), "+Inf")


class _Key(NamedTuple):
    route: str
    method: str
    status: int


@dataclass(slots=True)
class _Count:
    """The requests of one key; `buckets` are those of all requests of its kind of route."""

    buckets: list[int]
    number: int = 0
    seconds: float = 0.0


class RequestCounts(Collector):
    """Counts requests, and shows the counts as metrics."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], _Count] = {}
        self._buckets: dict[str, list[int]] = {}
        self._successes = self._refusals = 0

    def add(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request; `seconds` are those until its answer began."""
        count = self._counts.get((route, method, status)) or self._count_of(route, method, status)
        count.number += 1
        count.seconds += seconds
        count.buckets[bisect_left(_BUCKETS_SECONDS, seconds)] += 1

    def collect(self) -> Iterable[Metric]:
        """Return the counts."""
        requests = CounterMetricFamily(
            "quart_app_requests",
            "Answered requests, by route, method and status.",
            labels=["route", "method", "status"],
        )
        seconds_by_route: defaultdict[str, float] = defaultdict(float)
        for (route, method, status), count in self._counts.items():
            requests.add_metric([route, method, str(status)], count.number)
            seconds_by_route[route] += count.seconds
        seconds = CounterMetricFamily(
            "quart_app_route_seconds",
            "Seconds from requests to the beginning of their answers, by route.",
            labels=["route"],
        )
        for route, total in seconds_by_route.items():
            seconds.add_metric([route], total)
        yield from (requests, seconds, self._histogram())

    def _histogram(self) -> Metric:
        histogram = HistogramMetricFamily(
            "quart_app_request_seconds",
            "Seconds from a request to the beginning of its answer, by the kind of route.",
            labels=["kind"],
        )
        seconds_by_kind: defaultdict[str, float] = defaultdict(float)
        for (route, _, _), count in self._counts.items():
            seconds_by_kind[_kind_of(route)] += count.seconds
        for kind, numbers in self._buckets.items():
            buckets = list(zip(_BUCKET_NAMES, accumulate(numbers), strict=True))
            histogram.add_metric([kind], buckets, seconds_by_kind[kind])
        return histogram

    def _within_bounds(self, key: _Key) -> _Key:
        """Return the key; beyond the bound, return a key that all others share."""
        if key.status < _FIRST_REFUSAL:
            is_within = self._successes < MOST_SUCCESSES
            self._successes += is_within
        else:
            is_within = self._refusals < MOST_REFUSALS
            self._refusals += is_within
        return key if is_within else _Key(OTHER, OTHER, key.status)

    def _count_of(self, route: str, method: str, status: int) -> _Count:
        known_method = _METHODS.get(method)
        key = _Key(route, known_method, status) if known_method else _Key(OTHER, OTHER, status)
        if key not in self._counts:
            key = self._within_bounds(key)
        buckets = self._buckets.setdefault(_kind_of(key.route), [0] * len(_BUCKET_NAMES))
        return self._counts.setdefault(key, _Count(buckets))


def _kind_of(route: str) -> str:
    if route.startswith("/api/"):
        return "api"
    if route.startswith("/static/"):
        return "static"
    return "auth_verify" if route.startswith("/auth/") else "page"
