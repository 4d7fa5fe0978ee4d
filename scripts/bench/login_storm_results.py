"""The results of `scripts/bench/login_storm.py`, their goals, and the tables that show them."""

import os
from dataclasses import dataclass, field

from bench.login_storm_baseline import REVISION
from bench.login_storm_clients import Asked, Compared, Stormed
from bench.login_storm_picture import percentile

GOAL_OF_GAIN = 1.6  # logins per second, relative to REVISION
GOAL_OF_MS_BESIDE = 5.0
GOAL_OF_IDLE = 3.0


@dataclass
class Measured:
    """The results of all rounds together."""

    compared: Compared = field(default_factory=Compared)
    idle: Asked = field(default_factory=Asked)
    asked: Asked = field(default_factory=Asked)
    stormed: Stormed = field(default_factory=Stormed)
    # Processor time of all servers, when nobody logs in and in the storm.
    idle_server_seconds: float = 0.0
    server_seconds: float = 0.0
    # Logins per second of each round, here and at the older revision; empty without --strict.
    rates: list[float] = field(default_factory=list)
    baseline_rates: list[float] = field(default_factory=list)
    baseline: Stormed = field(default_factory=Stormed)
    baseline_asked: Asked = field(default_factory=Asked)
    baseline_server_seconds: float = 0.0
    peak_megabytes: float = 0.0
    grown_megabytes: float = 0.0
    logins_written: int = 0

    @property
    def others_share(self) -> float:
        """Share of all cores that goes to clients, and to servers answering logged-in users."""
        clients = self.stormed.processor_seconds + self.asked.processor_seconds
        return (clients + self._asking_seconds) / (self.stormed.seconds * (os.cpu_count() or 1))

    @property
    def limit(self) -> float:
        """Passwords that the remaining share of the cores could compare per second."""
        return self.compared.number / self.compared.seconds * (1 - self.others_share)

    def add_baseline(self, stormed: Stormed, asked: Asked, server_seconds: float) -> None:
        """Add a round of the older revision."""
        self.baseline_rates.append(stormed.statuses[200] / stormed.seconds)
        self.baseline += stormed
        self.baseline_asked += asked
        self.baseline_server_seconds += server_seconds

    @property
    def _asking_seconds(self) -> float:
        return self._seconds_to_answer(self.asked)

    def _seconds_to_answer(self, asked: Asked) -> float:
        """Return the servers' time for logged-in users in a storm, at the cost measured idle."""
        return self.idle_server_seconds * len(asked.waits) / len(self.idle.waits)

    @property
    def seconds_a_login(self) -> float:
        """Processor time of the servers per login."""
        return (self.server_seconds - self._asking_seconds) / len(self.stormed.waits)

    @property
    def baseline_seconds_a_login(self) -> float:
        """The same of the older revision."""
        asking = self._seconds_to_answer(self.baseline_asked)
        return (self.baseline_server_seconds - asking) / len(self.baseline.waits)

    @property
    def seconds_a_password(self) -> float:
        """Processor time per compared password."""
        return self.compared.processor_seconds / self.compared.number

    @property
    def seconds_beside_password(self) -> float:
        """Processor time of the servers per login, without the password."""
        return self.seconds_a_login - self.seconds_a_password

    @property
    def slowdown(self) -> float:
        """The slowest 1 % of other requests in the storm, relative to when nobody logs in."""
        return percentile(self.asked.waits, 99) / percentile(self.idle.waits, 99)

    @property
    def gains(self) -> list[float]:
        """Logins per second relative to the older revision, by round."""
        return [
            ours / theirs for ours, theirs in zip(self.rates, self.baseline_rates, strict=False)
        ]

    @property
    def is_goal_met(self) -> bool:
        """Whether every goal is met, in every round."""
        return (
            min(self.gains, default=GOAL_OF_GAIN) >= GOAL_OF_GAIN
            and self.seconds_beside_password * 1e3 <= GOAL_OF_MS_BESIDE
            and self.slowdown <= GOAL_OF_IDLE
            and self.failures == self.server_errors == 0
        )

    @property
    def failures(self) -> int:
        """Logins that were refused, not answered, or not written to the database."""
        answered = self.stormed.statuses[200]
        return len(self.stormed.waits) - answered + abs(answered - self.logins_written)

    @property
    def server_errors(self) -> int:
        """Answers with status 5xx, and missing answers."""
        statuses = self.stormed.statuses + self.asked.statuses
        return sum(n for status, n in statuses.items() if status == 0 or status >= 500)  # noqa: PLR2004


def print_logins(result: Measured) -> None:
    """Print the table of logins."""
    stormed = result.stormed
    rate = stormed.statuses[200] / stormed.seconds
    for words, value, more in (
        ("logins per second", f"{rate:.1f}", ""),
        *_gain(result),
        (
            "passwords per second, upper limit",
            f"{result.limit:.1f}",
            f"with all cores, except the {result.others_share:.0%} for other work",
        ),
        ("logins, share of that limit", f"{rate / result.limit:.0%}", ""),
        (
            "ms of CPU per login",
            f"{result.seconds_a_login * 1e3:.1f}",
            "in the servers, without the database",
        ),
        ("ms of CPU per password", f"{result.seconds_a_password * 1e3:.1f}", ""),
        (
            "ms of CPU per login, beside that",
            f"{result.seconds_beside_password * 1e3:.1f}",
            f"goal: at most {GOAL_OF_MS_BESIDE:.0f}",
        ),
        ("s to answer a login, p50", f"{percentile(stormed.waits, 50):.1f}", ""),
        ("s to answer a login, p99", f"{percentile(stormed.waits, 99):.1f}", ""),
        (
            "MB resident per process, peak",
            f"{result.peak_megabytes:.0f}",
            f"{result.grown_megabytes:.0f} more than after the warm-up",
        ),
        ("failed logins", f"{result.failures}", "goal: 0"),
        ("5xx or missing answers", f"{result.server_errors}", "goal: 0"),
    ):
        print(f"{words:40}{value:>8}  {more}".rstrip())


def _gain(result: Measured) -> list[tuple[str, str, str]]:
    if not result.gains:
        return []
    each = ", ".join(f"{gain:.2f}" for gain in result.gains)
    good = sum(gain >= GOAL_OF_GAIN for gain in result.gains)
    return [
        (
            f"  relative to revision {REVISION}",
            f"{percentile(result.gains, 50):.2f}",
            f"goal: {GOAL_OF_GAIN} in every round; met in {good} of {len(result.gains)}: {each}",
        ),
        (
            "  ms of CPU per login at that revision",
            f"{result.baseline_seconds_a_login * 1e3:.1f}",
            f"{result.baseline_seconds_a_login / result.seconds_a_login:.2f} times as much",
        ),
    ]


def print_requests(result: Measured) -> None:
    """Print the table of other users' requests."""
    print(f"\n{'ms to answer /api/session_state':40}{'p50':>8}{'p99':>8}{'max':>8}{'requests':>9}")
    for words, each in (("idle", result.idle), ("in the storm", result.asked)):
        times = [f"{percentile(each.waits, at) * 1e3:8.1f}" for at in (50, 99, 100)]
        print(f"{words:40}{''.join(times)}{len(each.waits):9}")
    print(
        f"{'p99 in the storm / p99 idle':40}{result.slowdown:16.1f}"
        f"  goal: at most {GOAL_OF_IDLE:.0f}"
    )
