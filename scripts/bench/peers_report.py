"""The results of `scripts/bench/peers.py`: what they are computed from, their table and goals."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.login_storm_picture import percentile
from bench.peers_client import Round

STOCK = "stock Quart"
QUART_AUTH = "Quart-Auth"
DASHBOARD = "the dashboard"
_QUIET_SHARE = 0.85


@dataclass(eq=False, kw_only=True)
class Peer:
    """A path of a server, and what was measured there."""

    name: str
    path: str
    is_wsgi: bool = False
    is_ours: bool = False
    is_final: bool = False  # whether a logout ended the copied cookie, too
    rounds: list[Round] = field(default_factory=list)

    @property
    def requests_per_second(self) -> float:
        """Return the median of the rounds."""
        return statistics.median(each.requests_per_second for each in self.rounds)

    @property
    def processor_milliseconds(self) -> float:
        """Return the processor time of a request: its median."""
        return statistics.median(each.processor_seconds_per_request for each in self.rounds) * 1e3

    @property
    def server_share(self) -> float:
        """Return the server's share of its core, which is near 1 if nothing else runs there."""
        return statistics.median(each.processor_seconds / each.seconds for each in self.rounds)

    @property
    def client_share(self) -> float:
        """Return the client's share of its core: near 1, it is the client that was measured."""
        return statistics.median(each.client_seconds / each.seconds for each in self.rounds)

    def milliseconds(self, percent: float) -> float:
        """Return a percentile of the response times of all rounds together."""
        return percentile([wait for each in self.rounds for wait in each.waits], percent) * 1e3


class Ratio(NamedTuple):
    """A peer by another one in the same rounds: median, and the middle half of the rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio(peer: Peer, other: Peer, value: Callable[[Round], float]) -> Ratio:
    """Compare a value of the rounds, such as their rate, round by round.

    The ratio is NaN if a round was too short to measure a processor time.
    """
    pairs = zip(peer.rounds, other.rounds, strict=True)
    ratios = sorted(value(one) / (value(by) or math.nan) for one, by in pairs)
    last = len(ratios) - 1
    return Ratio(statistics.median(ratios), ratios[last // 4], ratios[last - last // 4])


def rate(one: Round) -> float:
    """Return the requests a second."""
    return one.requests_per_second


def processor_time(one: Round) -> float:
    """Return the processor time of a request."""
    return one.processor_seconds_per_request


def named(peers: Sequence[Peer], name: str) -> Peer:
    """Return the peer of this name."""
    return next(each for each in peers if each.name == name)


def table(peers: Sequence[Peer]) -> str:
    """Return the results as a table in Markdown."""
    stock = named(peers, STOCK)
    rows = [
        ["", "server", "requests/s", f"of {STOCK}", "p50", "p99", "CPU", "of its CPU", "cookie"],
        ["---", "---", *["--:"] * 6, "---"],
    ]
    rows += [
        [
            f"**{each.name}**" if each.is_ours else each.name,
            "gunicorn" if each.is_wsgi else "Hypercorn",
            f"{each.requests_per_second:,.0f}",
            str(ratio(each, stock, rate)),
            f"{each.milliseconds(50):.1f}",
            f"{each.milliseconds(99):.1f}",
            f"{each.processor_milliseconds:.2f}",
            f"{ratio(each, stock, processor_time).median:.2f}",
            "ends" if each.is_final else "**stays valid**",
        ]
        for each in peers
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def shares(peers: Sequence[Peer]) -> str:
    """Return a sentence about the cores, which tells whether the rates can be trusted."""
    busy = max(peers, key=lambda each: each.client_share)
    idle = min(peers, key=lambda each: each.server_share)
    sentence = (
        f"The client used {busy.client_share:.0%} of its core at most ({busy.name}), and the"
        f" servers {idle.server_share:.0%} of theirs at least ({idle.name})."
    )
    if idle.server_share < _QUIET_SHARE:
        sentence += (
            "\nOther work took part of that core, and servers with several threads lost less of it:"
            " compare the processor times, or measure again on a quiet machine."
        )
    return sentence


class Goal(NamedTuple):
    """Something that must be true of ours, and whether it is."""

    words: str
    is_met: bool


def goals(peers: Sequence[Peer]) -> list[Goal]:
    """Compare our session with each peer that ends sessions, and with stock Quart and Quart-Auth.

    The dashboard is not compared: it is a whole page, with queries.
    """
    found = [
        Goal(f"{own.name}: a logout ends a copied cookie", own.is_final)
        for own in peers
        if own.is_ours
    ]
    for own in [each for each in peers if each.is_ours and each.name != DASHBOARD]:
        for other in [each for each in peers if not each.is_ours]:
            if other.is_final or other.name in (STOCK, QUART_AUTH):
                by = ratio(own, other, rate).median
                cost = ratio(own, other, processor_time).median
                words = f"{own.name}: {by:.2f} times as many requests a second as {other.name}"
                found.append(Goal(f"{words}, each {cost:.2f} times its processor time", by > 1))
    return found
