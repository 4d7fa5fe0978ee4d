"""The type of a picture, by its bytes: its name and its Content-Type prove nothing."""

from collections.abc import Callable
from typing import Final

LARGEST_SIDE: Final = 4096  # pixels; browsers take 64 MiB to show that many


def picture_type(body: bytes) -> str | None:
    """Return `image/png`, `image/jpeg`, `image/webp` or `image/gif`; None for anything else.

    None also for a picture that unpacks to more than LARGEST_SIDE pixels a side: 256 KiB of PNG
    can be gigabytes of pixels in the browser of everyone who sees it. Never SVG, which can run
    scripts.
    """
    for content_type, size_in in _SIZES.items():
        try:
            size = size_in(body)
        except IndexError:  # it ends too early
            continue
        if size is not None:
            return content_type if all(0 < side <= LARGEST_SIDE for side in size) else None
    return None


def _png(body: bytes) -> tuple[int, int] | None:
    """PNG section 11.2.2: the first chunk is IHDR."""
    if body[:8] != b"\x89PNG\r\n\x1a\n" or body[12:16] != b"IHDR":
        return None
    return _big(body, 16, 4), _big(body, 20, 4)


def _gif(body: bytes) -> tuple[int, int] | None:
    if body[:6] not in {b"GIF87a", b"GIF89a"}:
        return None
    return _little(body, 6, 2), _little(body, 8, 2)


def _webp(body: bytes) -> tuple[int, int] | None:
    """RFC 9649 section 2: lossy, lossless or extended."""
    if body[:4] != b"RIFF" or body[8:12] != b"WEBP":
        return None
    match body[12:16]:
        case b"VP8X":
            return 1 + _little(body, 24, 3), 1 + _little(body, 27, 3)
        case b"VP8L":
            bits = _little(body, 21, 4)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            return _little(body, 26, 2) & 0x3FFF, _little(body, 28, 2) & 0x3FFF
    return None


def _jpeg(body: bytes) -> tuple[int, int] | None:
    """ITU T.81 annex B: segments with their lengths, until a frame header (SOF)."""
    if body[:3] != b"\xff\xd8\xff":
        return None
    position = 2
    while body[position] == 0xFF:  # noqa: PLR2004 the first byte of every marker
        marker = body[position + 1]
        if marker in _FRAME_HEADERS:
            return _big(body, position + 7, 2), _big(body, position + 5, 2)
        position += 1 if marker == 0xFF else 2 + _big(body, position + 2, 2)  # noqa: PLR2004
    return None


def _big(body: bytes, position: int, length: int) -> int:
    return int.from_bytes(_part(body, position, length), "big")


def _little(body: bytes, position: int, length: int) -> int:
    return int.from_bytes(_part(body, position, length), "little")


def _part(body: bytes, position: int, length: int) -> bytes:
    if position + length > len(body):
        raise IndexError
    return body[position : position + length]


# Every SOF marker; C4, C8 and CC between them are others.
_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SIZES: Final[dict[str, Callable[[bytes], tuple[int, int] | None]]] = {
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/webp": _webp,
    "image/gif": _gif,
}
