"""The picture of `scripts/bench/login_storm.py`: response times by percentile."""

import math
from collections.abc import Sequence

from bench import svg

_WIDTH, _HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 600, 64, 330
_PERCENTS = (0, 50, 90, 99, 99.9)
_STEPS_OF_A_DECADE = (1, 2, 5)
_LABEL_HEIGHT = 16
_STYLE = """\
    .line { fill: none; stroke-width: 2.2; stroke-linejoin: round }
    path.idle { stroke: #3a6ea5 } circle.idle { fill: #3a6ea5 } text.idle { fill: #2f5c8c }
    path.storm { stroke: #b3261e } circle.storm, text.storm { fill: #b3261e }
    @media (prefers-color-scheme: dark) {
      path.idle { stroke: #6aa8ee } circle.idle, text.idle { fill: #6aa8ee }
      path.storm { stroke: #f08a80 } circle.storm, text.storm { fill: #f08a80 }
    }"""


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` percent of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def picture(idle: Sequence[float], stormed: Sequence[float]) -> str:
    """Return an SVG of both distributions, given in seconds.

    Times are on a logarithmic scale. Percentiles are, too: the step from 90 to 99 % is as wide as
    that from 99 to 99.9 %, because users notice the slow responses.
    """
    scale = _Scale([value * 1e3 for value in [*idle, *stormed]])
    of_what = "share of the responses that arrive within that time"
    parts = [
        svg.text(_LEFT, 30, "Response times while many users log in", "name"),
        svg.text(_LEFT, 50, "ms to answer GET /api/session_state"),
        *scale.grid(),
        svg.text((_LEFT + _RIGHT) / 2, _HEIGHT - 20, of_what, anchor="middle"),
    ]
    lines = [("idle", "idle", idle), ("storm", "in the storm", stormed)]
    ends = []
    for name, _, values in lines:
        points = [
            f"{scale.x(percent):.1f} {scale.y(percentile(values, percent) * 1e3):.1f}"
            for percent in _drawn_percents(len(values))
        ]
        parts.append(f'  <path class="line {name}" d="M{"L".join(points)}"/>')
        at_99 = percentile(values, 99) * 1e3
        parts.append(
            f'  <circle class="{name}" cx="{scale.x(99):.1f}" cy="{scale.y(at_99):.1f}" r="4"/>'
        )
        ends.append(float(points[-1].split()[1]))
    # Labels at the ends of the lines, moved apart so that they do not overlap.
    apart = 3 * _LABEL_HEIGHT - abs(ends[1] - ends[0])
    ends = [ends[0] + max(0.0, apart / 2), ends[1] - max(0.0, apart / 2)]
    for (name, words, values), y in zip(lines, ends, strict=True):
        in_ms = [f"p{at} {percentile(values, at) * 1e3:.1f} ms" for at in (50, 99)]
        parts += [
            svg.text(_RIGHT + 12, y, words, f"name {name}"),
            svg.text(_RIGHT + 12, y + _LABEL_HEIGHT, ", ".join(in_ms)),
        ]
    return svg.document(
        _WIDTH,
        _HEIGHT,
        "Response times of GET /api/session_state while many users log in",
        "Two curves of times by percentile: when nobody logs in, and in a storm of logins.",
        style=_STYLE,
        parts=parts,
    )


class _Scale:
    """The coordinates of percentages (x) and of times in ms (y)."""

    def __init__(self, values: Sequence[float]) -> None:
        self._low = min(_round_down(min(values)), _round_up(max(values)) / 10)
        self._high = _round_up(max(values))

    def x(self, percent: float) -> float:
        """Return the x of a percentage; 90, 99 and 99.9 are at equal distances."""
        nines = -math.log10(1 - percent / 100)
        return _LEFT + (_RIGHT - _LEFT) * nines / -math.log10(1 - _PERCENTS[-1] / 100)

    def y(self, ms: float) -> float:
        """Return the y of a time."""
        share = math.log(ms / self._low) / math.log(self._high / self._low)
        return _BOTTOM - (_BOTTOM - _TOP) * share

    def grid(self) -> list[str]:
        """Return the grid lines with their labels."""
        parts = []
        for ms in _steps(self._low, self._high):
            y = self.y(ms)
            parts.append(f'  <path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>')
            parts.append(svg.text(_LEFT - 10, y + 4, f"{ms:g}", anchor="end"))
        for percent in _PERCENTS:
            x = self.x(percent)
            parts.append(f'  <path class="grid" d="M{x:.1f} {_TOP}V{_BOTTOM}"/>')
            parts.append(svg.text(x, _BOTTOM + 20, f"{percent:g} %", anchor="middle"))
        return parts


def _drawn_percents(number: int) -> list[float]:
    """Return the percentages to draw, up to the last one that a response defines."""
    last = min(_PERCENTS[-1], 100 * (1 - 1 / number))
    nines = -math.log10(1 - last / 100)
    return [100 * (1 - 10 ** -(nines * step / 100)) for step in range(101)]


def _steps(low: float, high: float) -> list[float]:
    steps = [
        step * 10.0**decade
        for decade in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for step in _STEPS_OF_A_DECADE
    ]
    return [step for step in steps if low * 0.999 <= step <= high * 1.001]


def _round_down(value: float) -> float:
    return max(_steps(value / 10, value))


def _round_up(value: float) -> float:
    return min(_steps(value, value * 10))
