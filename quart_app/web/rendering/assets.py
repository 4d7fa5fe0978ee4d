"""Static files: read and compressed once, and served from memory under an address of their content.

The address holds a hash of the whole tree, `/static/<hash>/js/x.js`. So a relative path in a file,
in an ES module's import or a style sheet's url(), leads to such an address, too.

A folder that is named like a file, `style.css/`, is served as that file: its parts joined in the
order of their names. The source has small files, and a page needs one request.
"""

import gzip
import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from quart import Quart, Response, request
from werkzeug.datastructures import ContentRange
from werkzeug.exceptions import NotFound

from quart_app.session import answers_when_stale, not_activity
from quart_app.web.pipeline.access import no_page, public

FOLDER: Final = Path(__file__).parent.parent / "static"
# Of all files together: they stay in memory. Larger files belong on a server of their own.
LARGEST_TREE_BYTES: Final = 2 * 1024 * 1024
# Other files, such as READMEs and licences, are for readers of the source and not served. The types
# are fixed here because those of `mimetypes` differ from machine to machine.
_CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_HASH_DIGITS: Final = 16
_A_HASH: Final = re.compile(rf"[0-9a-f]{{{_HASH_DIGITS}}}")
_WORTH_COMPRESSING: Final = 0.9  # of its size; an image is compressed as it is
_FOR_A_YEAR: Final = "public, max-age=31536000, immutable"
_ASK_EACH_TIME: Final = "no-cache"


@dataclass(frozen=True)
class File:
    """One file; `gzipped` is None where that would save too little."""

    content_type: str
    content: bytes
    gzipped: bytes | None
    etag: str


@dataclass(frozen=True)
class Tree:
    """All files, by their paths below the folder."""

    hash: str
    files: Mapping[str, File]


@cache
def read_tree() -> Tree:
    """Return the files as they are when the process first asks for them."""
    contents: dict[str, bytes] = defaultdict(bytes)
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in _CONTENT_TYPES and path.is_file():
            joined = path.parent if path.parent.suffix in _CONTENT_TYPES else path
            contents[joined.relative_to(FOLDER).as_posix()] += path.read_bytes()
    size = sum(map(len, contents.values()))
    if size > LARGEST_TREE_BYTES:
        raise ValueError(f"the static files have {size} bytes, which is too much to keep in memory")
    files = {name: _file(name, content) for name, content in contents.items()}
    whole = "".join(f"{name}\n{file.etag}\n" for name, file in files.items())
    return Tree(_hash(whole.encode()), files)


def _file(name: str, content: bytes) -> File:
    gzipped = gzip.compress(content, mtime=0)
    is_worth_it = len(gzipped) < _WORTH_COMPRESSING * len(content)
    return File(
        content_type=_CONTENT_TYPES[Path(name).suffix],
        content=content,
        gzipped=gzipped if is_worth_it else None,
        etag=_hash(content),
    )


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]


def install(app: Quart) -> None:
    """Serve the static files of `app`; `url_for('static', filename=…)` returns their addresses."""
    tree = read_tree()

    @public
    @no_page
    @answers_when_stale
    @not_activity
    async def serve(tree_hash: str, filename: str) -> Response:
        file = tree.files.get(filename)
        if file is None or not _A_HASH.fullmatch(tree_hash):
            raise NotFound
        return _answer(file, _FOR_A_YEAR if tree_hash == tree.hash else _ASK_EACH_TIME)

    def name_the_tree(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static":
            values.setdefault("tree_hash", tree.hash)

    app.add_url_rule("/static/<tree_hash>/<path:filename>", "static", serve)
    app.url_defaults(name_the_tree)


def _answer(file: File, cache_control: str) -> Response:
    """Return the file, or the part of it that the request asks for.

    An address with the hash of another version, from an old page or a newer process, gets this
    version's file. That is better than a page without its style, but no cache may keep it.
    """
    content, etag = file.content, file.etag
    headers = {"Cache-Control": cache_control, "Accept-Ranges": "bytes"}
    if file.gzipped is not None:
        headers["Vary"] = "Accept-Encoding"
        if request.accept_encodings["gzip"] > 0:
            headers["Content-Encoding"] = "gzip"
            content, etag = file.gzipped, f"{file.etag}-gzip"  # of these bytes, not of the file
    headers["ETag"] = f'"{etag}"'
    if request.if_none_match.contains_weak(etag):
        response = Response(b"", HTTPStatus.NOT_MODIFIED, headers)
        for of_the_content in ("Content-Type", "Content-Length", "Content-Encoding"):
            response.headers.pop(of_the_content, None)
        return response
    response = Response(content, headers=headers, content_type=file.content_type)
    part = _asked_for(len(content), etag)
    if part is not None:
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        response.content_range = ContentRange("bytes", *part, len(content))
        response.set_data(content[slice(*part)])
    return response


def _asked_for(length: int, etag: str) -> tuple[int, int] | None:
    """Return the begin and end of the one part that a Range asks for; None for the whole."""
    if_range = request.if_range
    if request.method != "GET" or request.range is None:
        return None
    if if_range.date is not None or if_range.etag not in {None, etag}:  # a part of other bytes
        return None
    return request.range.range_for_length(length)
