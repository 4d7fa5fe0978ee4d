"""The parts that all pictures of the benchmarks have in common."""

import html
from collections.abc import Iterable

# Text and lines, in colours that can be read on the background of the same scheme.
_STYLE = """\
    rect.background { fill: #fff }
    text { fill: #1d2733 } .name { font-weight: 600 } .small { font-size: 12px; fill: #3d4b59 }
    .grid { stroke: #d5dce3; stroke-width: 1 }
    @media (prefers-color-scheme: dark) {
      rect.background { fill: #15191e }
      text { fill: #e6ebf0 } .small { fill: #b7c2cd }
      .grid { stroke: #38424d }
    }"""


def document(
    width: int, height: int, title: str, description: str, *, style: str, parts: Iterable[str]
) -> str:
    """Return an SVG. The title and the description are read aloud instead of the drawing."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"',
            '  aria-labelledby="t d" font-family="system-ui, sans-serif" font-size="14">',
            f'  <title id="t">{html.escape(title)}</title>',
            f'  <desc id="d">{html.escape(description)}</desc>',
            "  <style>",
            _STYLE,
            style,
            "  </style>",
            f'  <rect class="background" width="{width}" height="{height}"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def text(x: float, y: float, words: str, kind: str = "small", *, anchor: str = "start") -> str:
    """Return a line of text. `kind` has the names of its classes; x is where `anchor` says."""
    return (
        f'  <text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{html.escape(words)}</text>"
    )
