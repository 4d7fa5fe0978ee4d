"""`/metrics`: the metrics of this process, for Prometheus.

They show how busy the site is and which of its parts fail, so they are not public. By default only
this machine may read them.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.process_collector import ProcessCollector
from quart import Blueprint, Quart, Response, current_app, request
from quart.typing import ResponseReturnValue

from quart_app.errors import NotFound
from quart_app.services.operations.measurements import Measurements
from quart_app.session import answers_when_stale
from quart_app.web.operations.process_metrics import ProcessMetrics
from quart_app.web.operations.request_counts import RequestCounts
from quart_app.web.pipeline.access import no_page, public
from quart_app.web.pipeline.json_views import Contract, keeps

blueprint = Blueprint("metrics", __name__)

_EXTENSION: Final = "quart_app.metrics"
_READABLE: Final = "quart_app.metrics_readable"
_LAG_BUCKETS_SECONDS: Final = (0.25, 0.75, 1.0, 2.5, 5.0, 10.0)
# A proxy adds one of these, even where it is not set up for this application.
_ADDED_BY_PROXIES: Final = ("Forwarded", "Via", "X-Real-IP")
_FORWARDED: Final = "X-FORWARDED-"


def new_registry(measurements: Measurements, counts: RequestCounts) -> CollectorRegistry:
    """Return a registry with the metrics of this process.

    It is not the library's global one: each application of a process has its own.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call] # they would double the series of each counter
    registry = CollectorRegistry()
    registry.register(counts)
    registry.register(ProcessMetrics(measurements))
    ProcessCollector(registry=registry)
    lag = Histogram(
        "quart_app_revocation_lag_seconds",
        "Age that the revocation list reached before each confirmation.",
        buckets=_LAG_BUCKETS_SECONDS,
        registry=registry,
    )
    measurements.revocations.observe_age(lag.observe)
    return registry


def install(
    app: Quart, registry: CollectorRegistry, *, readable: str, trusted_proxies: int
) -> None:
    """Let `/metrics` show the registry. `readable` is the setting: off, loopback or on.

    Behind a proxy, "loopback" is as closed as "off".
    """
    app.extensions[_EXTENSION] = registry
    closed = readable == "loopback" and trusted_proxies > 0
    app.extensions[_READABLE] = "off" if closed else readable


@blueprint.get("/metrics")
@public
@no_page
@answers_when_stale
@keeps(Contract(answer=str, media_type="text/plain", errors=(NotFound,)))
async def show() -> ResponseReturnValue:
    """Return the metrics in Prometheus' text format. Raises NotFound for a stranger."""
    readable = current_app.extensions[_READABLE]
    if readable != "on" and not (readable == "loopback" and _is_from_this_machine()):
        raise NotFound
    text = generate_latest(current_app.extensions[_EXTENSION])
    return Response(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _is_from_this_machine() -> bool:
    """Return whether a program on this machine asks, not a proxy for somebody else."""
    return not _is_forwarded(request.headers.keys()) and _is_loopback(request.remote_addr)


def _is_forwarded(names: Iterable[str]) -> bool:
    return any(name in request.headers for name in _ADDED_BY_PROXIES) or any(
        name.upper().startswith(_FORWARDED) for name in names
    )


def _is_loopback(address: str | None) -> bool:
    try:
        peer = ip_address(address or "")
    except ValueError:
        return False
    mapped = getattr(peer, "ipv4_mapped", None)  # a socket for both families: ::ffff:127.0.0.1
    return (mapped or peer).is_loopback
