"""The picture of `scripts/bench/login_storm.py`."""
import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many percent of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def picture(idle: Sequence[float], stormed: Sequence[float], *, goal: float) -> str:
    """Return it."""
    return ""
