"""Metrics of this process that are read at each scrape."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from quart_app.services.operations.measurements import Measurements


class ProcessMetrics(Collector):
    """Reads the queue, the revocation list, streams, connection pools and background tasks."""

    def __init__(self, measurements: Measurements) -> None:
        self._read = measurements

    def collect(self) -> Iterable[Metric]:
        """Return what there is to show now."""
        yield from self._logins()
        yield from self._revocations()
        yield _gauge("quart_app_event_streams", "Open event streams.", len(self._read.events))
        yield self._connections()
        yield self._most_connections()
        yield from self._tasks()

    def _logins(self) -> Iterable[Metric]:
        logins = CounterMetricFamily(
            "quart_app_logins", 'Logins: "success", or the code of the refusal.', labels=["result"]
        )
        for result, number in self._read.login_results.counts.items():
            logins.add_metric([result], number)
        yield logins
        queue = self._read.hashing_queue
        yield _gauge(
            "quart_app_hashing_queue_waiting", "Passwords that wait for a turn.", queue.waiting
        )
        yield _gauge(
            "quart_app_hashing_queue_running", "Passwords whose turn it is.", queue.running
        )
        yield _gauge("quart_app_hashing_queue_slots", "Turns at a time.", queue.slots)

    def _revocations(self) -> Iterable[Metric]:
        revocations = self._read.revocations
        yield _gauge(
            "quart_app_revocation_list_entries",
            "Ended sessions and users in the revocation list.",
            len(revocations),
        )
        yield _gauge(
            "quart_app_revocation_list_age_seconds",
            "Seconds since the revocation list was confirmed; +Inf before the first time.",
            revocations.age_seconds(),
        )
        yield _gauge(
            "quart_app_revocation_list_fresh",
            "1, or 0 while sessions are answered with 503 because the list is stale.",
            revocations.is_fresh(),
        )

    def _connections(self) -> Metric:
        connections = GaugeMetricFamily(
            "quart_app_database_connections",
            "Database connections by pool and state.",
            labels=["pool", "state"],
        )
        for pool, usage in self._read.pools().items():
            connections.add_metric([pool, "in_use"], usage.in_use)
            connections.add_metric([pool, "idle"], usage.idle)
        return connections

    def _most_connections(self) -> Metric:
        most = GaugeMetricFamily(
            "quart_app_database_connections_max",
            "Database connections that a pool may have at most.",
            labels=["pool"],
        )
        for pool, usage in self._read.pools().items():
            most.add_metric([pool], usage.most)
        return most

    def _tasks(self) -> Iterable[Metric]:
        runs = CounterMetricFamily(
            "quart_app_background_runs", "Runs of background tasks.", labels=["task", "result"]
        )
        last = GaugeMetricFamily(
            "quart_app_background_last_success_timestamp_seconds",
            "When a background task last succeeded or, before that, when the process started.",
            labels=["task"],
        )
        seconds = GaugeMetricFamily(
            "quart_app_background_last_run_seconds",
            "Seconds that the last run of a background task took.",
            labels=["task"],
        )
        interval = GaugeMetricFamily(
            "quart_app_background_interval_seconds",
            "Seconds between the runs of a background task.",
            labels=["task"],
        )
        for task in self._read.tasks:
            record = task.record
            runs.add_metric([task.name, "success"], record.successes)
            runs.add_metric([task.name, "failure"], record.failures)
            last.add_metric([task.name], record.last_success_at)
            interval.add_metric([task.name], task.every.total_seconds())
            seconds.add_metric([task.name], record.last_run_seconds)
        yield from (runs, last, seconds, interval)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)
