"""Static files: their addresses and cache headers."""

import gzip
import re
from pathlib import Path
from posixpath import dirname, join, normpath

import pytest
from quart import Quart, url_for
from quart.typing import TestClientProtocol as Client

from quart_app.web.rendering import assets
from quart_app.web.rendering.assets import FOLDER, LARGEST_TREE_BYTES, read_tree
from tests.conftest import STATIC, set_cookies

FOR_A_YEAR = "public, max-age=31536000, immutable"
ELSEWHERE = "/static/0123456789abcdef"  # of another version
STYLE = b"".join(part.read_bytes() for part in sorted((FOLDER / "style.css").iterdir()))


def source_of(name: str) -> bytes:
    """Return what a file is served from: itself, or the parts in a folder of its name."""
    return STYLE if name == "style.css" else (FOLDER / name).read_bytes()


GZIP = {"Accept-Encoding": "gzip, deflate, br, zstd"}
TEMPLATES = FOLDER.parent / "templates"


@pytest.fixture
def engine_name() -> str:
    """One engine is enough, because no test here reaches the database."""
    return "sqlite"


async def test_the_address_contains_a_hash_of_all_files(app: Quart, visitor: Client) -> None:
    async with app.test_request_context("/"):
        path = url_for("static", filename="style.css")
    assert path == f"{STATIC}/style.css"
    assert re.fullmatch("/static/[0-9a-f]{16}/style.css", path)
    assert path in await (await visitor.get("/login")).get_data(as_text=True)


def test_the_hash_is_of_contents_and_names_and_a_folder_is_one_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    read = read_tree.__wrapped__  # without the cache of this process
    (tmp_path / "a.css").write_bytes(b"a{}")
    (tmp_path / "b.css").write_bytes(b"b{}")
    hashes = [read().hash, read().hash]
    (tmp_path / "b.css").write_bytes(b"b{ }")
    hashes.append(read().hash)
    (tmp_path / "b.css").rename(tmp_path / "c.css")
    hashes.append(read().hash)
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    (tmp_path / "joined.css").mkdir()
    for part in ("2.css", "1.css"):
        (tmp_path / "joined.css" / part).write_text(f"{part} ")
    files = read().files
    assert files["joined.css"].content == b"1.css 2.css "
    assert set(files) == {"a.css", "c.css", "joined.css"}
    (tmp_path / "large.png").write_bytes(bytes(LARGEST_TREE_BYTES))
    with pytest.raises(ValueError, match="too much to keep in memory"):
        read()


async def test_every_file_may_be_cached_for_a_year(browser: Client) -> None:
    assert {"style.css", "icon.svg", "vendor/pico-2.1.1.min.css"} <= set(read_tree().files)
    for name in read_tree().files:
        response = await browser.get(f"{STATIC}/{name}")
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == FOR_A_YEAR
        assert response.headers["ETag"]
        assert "Cookie" not in response.headers.get("Vary", "")
        assert not set_cookies(response)
        assert await response.get_data(as_text=False) == source_of(name)


async def test_files_have_their_content_types(visitor: Client) -> None:
    for name, kind in (("style.css", "text/css; charset=utf-8"), ("icon.svg", "image/svg+xml")):
        assert (await visitor.get(f"{STATIC}/{name}")).headers["Content-Type"] == kind


async def test_a_file_is_compressed_for_clients_that_accept_it(visitor: Client) -> None:
    plain = await visitor.get(f"{STATIC}/style.css", headers={"Accept-Encoding": "gzip;q=0, br"})
    gzipped = await visitor.get(f"{STATIC}/style.css", headers=GZIP)
    content = await gzipped.get_data(as_text=False)
    assert await plain.get_data(as_text=False) == gzip.decompress(content) == STYLE
    assert len(content) < len(STYLE) / 3
    assert gzipped.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert gzipped.headers["Content-Length"] == str(len(content))
    assert plain.headers["Content-Length"] == str(len(STYLE))
    assert plain.headers["Vary"] == gzipped.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["ETag"] != gzipped.headers["ETag"]


@pytest.mark.parametrize("headers", [{}, GZIP], ids=["plain", "gzip"])
async def test_a_conditional_request_gets_304_without_a_body(
    visitor: Client, headers: dict[str, str]
) -> None:
    path = f"{STATIC}/style.css"
    etag = (await visitor.get(path, headers=dict(headers))).headers["ETag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = await visitor.get(path, headers={**headers, "If-None-Match": known})
        assert response.status_code == 304
        assert await response.get_data(as_text=False) == b""
        assert response.headers["ETag"] == etag
        assert response.headers["Cache-Control"] == FOR_A_YEAR
        assert response.headers["Vary"] == "Accept-Encoding"
    of_the_other_form = etag.replace("-gzip", "") if headers else f'{etag[:-1]}-gzip"'
    for unknown in ('"other"', of_the_other_form):
        response = await visitor.get(path, headers={**headers, "If-None-Match": unknown})
        assert response.status_code == 200


async def test_head_has_the_headers_of_get(visitor: Client) -> None:
    for headers in ({}, GZIP):
        got = await visitor.get(f"{STATIC}/style.css", headers=dict(headers))
        told = await visitor.head(f"{STATIC}/style.css", headers=dict(headers))
        for response in (got, told):
            response.headers.pop("X-Request-Id")
        assert dict(told.headers) == dict(got.headers)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=10-", 10, len(STYLE) - 1), ("bytes=-7", len(STYLE) - 7, None)],
)
async def test_a_range_request_gets_the_range(
    visitor: Client, asked: str, first: int, last: int | None
) -> None:
    last = len(STYLE) - 1 if last is None else last
    etag = (await visitor.get(f"{STATIC}/style.css")).headers["ETag"]
    for headers in ({"Range": asked}, {"Range": asked, "If-Range": etag}):
        response = await visitor.get(f"{STATIC}/style.css", headers=headers)
        assert response.status_code == 206
        assert response.headers["Content-Range"] == f"bytes {first}-{last}/{len(STYLE)}"
        assert response.headers["Content-Length"] == str(last + 1 - first)
        assert await response.get_data(as_text=False) == STYLE[first : last + 1]


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-9", "If-Range": '"of other bytes"'},
        {"Range": "bytes=0-9", "If-Range": "Wed, 21 Oct 2015 07:28:00 GMT"},
        {"Range": f"bytes={10 * len(STYLE)}-"},
        {"Range": "bytes=0-1,5-6"},
        {"Range": "nonsense"},
    ],
    ids=str,
)
async def test_an_invalid_range_request_gets_the_whole_file(
    visitor: Client, headers: dict[str, str]
) -> None:
    response = await visitor.get(f"{STATIC}/style.css", headers=headers)
    assert response.status_code == 200
    assert await response.get_data(as_text=False) == STYLE


async def test_an_address_of_another_version_serves_this_file_uncached(
    visitor: Client,
) -> None:
    response = await visitor.get(f"{ELSEWHERE}/style.css")
    assert response.status_code == 200
    assert await response.get_data(as_text=False) == STYLE
    assert response.headers["Cache-Control"] == "no-cache"
    again = {"If-None-Match": response.headers["ETag"]}
    assert (await visitor.get(f"{ELSEWHERE}/style.css", headers=again)).status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "/static/style.css",
        "/static/vendor/style.css",
        "/static/0123456789ABCDEF/style.css",
        f"{STATIC}/",
        f"{STATIC}/vendor",
        f"{STATIC}/nothing.css",
        f"{STATIC}/vendor/README.md",
        f"{STATIC}/vendor/pico-2.1.1.LICENSE",
        f"{STATIC}/../assets.py",
        f"{STATIC}/..%2fassets.py",
        f"{STATIC}/vendor/..%2fstyle.css",
        f"{STATIC}/%2e%2e/%2e%2e/app.py",
        f"{STATIC}/style.css%00",
        f"{STATIC}/{'a' * 300}",
    ],
)
async def test_other_static_paths_are_not_found(visitor: Client, path: str) -> None:
    assert (await visitor.get(path)).status_code == 404


def named_in(text: str) -> set[str]:
    return set(re.findall(r"url_for\('static', filename='([^']+)'\)", text))


async def test_every_asset_that_pages_and_files_reference_exists(browser: Client) -> None:
    named = set().union(*(named_in(path.read_text()) for path in TEMPLATES.glob("*.html")))
    page = await (await browser.get("/")).get_data(as_text=True)
    named |= set(re.findall(rf'"{STATIC}/([^"]+)"', page))  # those that the layout names in a loop
    assert {"icon.svg", "style.css", "js/theme.js", "js/switcher.js"} <= named
    for name in read_tree().files:
        text = source_of(name).decode() if name.endswith((".css", ".js")) else ""
        # An absolute path, or an import by name, would have no hash in its address.
        links = re.findall(r"url\(['\"]?(?!data:|['\"]?data:)([^'\")]+)", text)
        links += re.findall(r"(?m)(?:^import|\bfrom|\bimport\()\s*\"([^\"]+)\"", text)
        named |= {normpath(join(dirname(name), link)) for link in links}
    assert named <= set(read_tree().files)


pytestmark = pytest.mark.sqlite_unless_thorough
