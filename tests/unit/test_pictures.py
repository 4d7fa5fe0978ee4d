"""Pictures are known by their bytes, and one that would fill a browser's memory is none."""

from collections.abc import Callable

import pytest

from quart_app.fediverse.pictures import LARGEST_SIDE, picture_type


def png(width: int, height: int) -> bytes:
    head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
    return head + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x06\0\0\0"


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + b"\0\0\0"


def jpeg(width: int, height: int, marker: int = 0xC0) -> bytes:
    comment = b"\xff\xfe\x00\x04\xff\xc0"  # a comment that looks like a frame
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return b"\xff\xd8" + comment + bytes([0xFF, 0xFF, marker]) + b"\x00\x11\x08" + size + b"\x03"


def webp(chunk: bytes, content: bytes) -> bytes:
    return b"RIFF\0\0\0\0WEBP" + chunk + len(content).to_bytes(4, "little") + content


def webp_lossy(width: int, height: int) -> bytes:
    size = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + size)


def webp_lossless(width: int, height: int) -> bytes:
    bits = (width - 1) | (height - 1) << 14
    return webp(b"VP8L", b"\x2f" + bits.to_bytes(4, "little"))


def webp_extended(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp(b"VP8X", b"\0\0\0\0" + size)


Make = Callable[[int, int], bytes]
ALL: list[tuple[str, Make]] = [
    ("image/png", png),
    ("image/gif", gif),
    ("image/jpeg", jpeg),
    ("image/webp", webp_lossy),
    ("image/webp", webp_lossless),
    ("image/webp", webp_extended),
]


@pytest.mark.parametrize(("kind", "make"), ALL)
def test_a_picture_is_known_by_its_bytes(kind: str, make: Make) -> None:
    assert picture_type(make(48, 32)) == kind
    assert picture_type(make(LARGEST_SIDE, 1)) == kind
    assert picture_type(make(1, LARGEST_SIDE)) == kind


@pytest.mark.parametrize("make", [make for _, make in ALL])
def test_a_picture_of_too_many_pixels_is_none(make: Make) -> None:
    assert picture_type(make(LARGEST_SIDE + 1, 1)) is None
    assert picture_type(make(1, LARGEST_SIDE + 1)) is None


@pytest.mark.parametrize(("kind", "make"), ALL)
def test_a_picture_that_ends_early_is_none(kind: str, make: Make) -> None:
    whole = make(48, 32)
    shortest = next(end for end in range(len(whole) + 1) if picture_type(whole[:end]) == kind)
    assert all(picture_type(whole[:end]) is None for end in range(shortest))


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC2, 0xCF])
def test_every_frame_of_jpeg_has_a_size(marker: int) -> None:
    assert picture_type(jpeg(5000, 1, marker)) is None
    assert picture_type(jpeg(50, 1, marker)) == "image/jpeg"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>',
        b"<!DOCTYPE html>",
        b"\x00\x00\x00\x20ftypavif",
        b"BM" + bytes(100),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"RIFF\0\0\0\0WEBPVP9 " + bytes(100),
        b"RIFF\0\0\0\0WAVEfmt " + bytes(100),
        b"\xff\xd8\xff" + bytes(100),
        b"\xff\xd8" + b"\xff\xc4\x00\x02" * 1000,
        b"\xff\xd8" + b"\xff\xe0\x00\x00" * 1000,
        png(0, 10),
        gif(10, 0),
    ],
)
def test_nothing_else_is_a_picture(body: bytes) -> None:
    assert picture_type(body) is None
