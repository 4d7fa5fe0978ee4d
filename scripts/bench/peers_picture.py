"""The picture of `scripts/bench/peers.py`: a bar for each peer, narrow enough for a phone."""

from collections.abc import Sequence

from bench import svg
from bench.peers_report import Peer

_WIDTH, _MARGIN = 360, 12
_TOP, _ROW, _BAR = 76, 58, 10
_STYLE = """\
    rect.ours { fill: #2f6db0 } rect.final { fill: #5f8f6b } rect.stays { fill: #b9772f }
    .stays { fill: #8a4f0c }
    @media (prefers-color-scheme: dark) {
      rect.ours { fill: #6aa8ee } rect.final { fill: #7fb68c } rect.stays { fill: #d59a55 }
      .stays { fill: #eab676 }
    }"""


def picture(peers: Sequence[Peer]) -> str:
    """Return an SVG with a row for each peer, the fastest first."""
    ordered = sorted(peers, key=lambda each: -each.requests_per_second)
    most = ordered[0].requests_per_second
    parts = [
        svg.text(_MARGIN, 24, "Logged-in requests a second", "name"),
        svg.text(_MARGIN, 42, "one core for each server, times in ms"),
    ]
    for number, each in enumerate(ordered):
        parts += _row(each, _TOP + number * _ROW, most)
    return svg.document(
        _WIDTH,
        _TOP + len(ordered) * _ROW - 14,
        "Logged-in requests a second, here and in other frameworks",
        "; ".join(
            f"{each.name} {each.requests_per_second:,.0f}, a copied cookie {_fate(each)}"
            for each in ordered
        ),
        style=_STYLE,
        parts=parts,
    )


def _row(peer: Peer, y: float, most: float) -> list[str]:
    kind = "ours" if peer.is_ours else "final" if peer.is_final else "stays"
    width = (_WIDTH - 2 * _MARGIN) * peer.requests_per_second / most
    name = f"quart_app: {peer.name}" if peer.is_ours else peer.name
    times = (
        f"p50 {peer.milliseconds(50):.1f}, p99 {peer.milliseconds(99):.1f},"
        f" CPU {peer.processor_milliseconds:.2f}"
    )
    bar = f'x="{_MARGIN}" y="{y + 6:.1f}" width="{width:.1f}" height="{_BAR}" rx="2"'
    return [
        svg.text(_MARGIN, y, name, "name"),
        svg.text(_WIDTH - _MARGIN, y, f"{peer.requests_per_second:,.0f}", "name", anchor="end"),
        f'  <rect class="{kind}" {bar}/>',
        svg.text(_MARGIN, y + 30, times),
        svg.text(
            _WIDTH - _MARGIN,
            y + 30,
            f"copied cookie {_fate(peer)}",
            "small" if peer.is_final else "small stays",
            anchor="end",
        ),
    ]


def _fate(peer: Peer) -> str:
    return "ends" if peer.is_final else "stays valid"
