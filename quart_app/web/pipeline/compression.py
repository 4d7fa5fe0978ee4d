"""Pages as gzip, where no other site can have made the browser ask for them.

A length tells something of a compressed page: who can make a browser ask for one again and again,
with words of their own in it, and sees the lengths, finds out what else is in it (BREACH, 2013).
"""

import gzip
from typing import Final

from quart import request
from quart.wrappers import Response

# Fetch Metadata (W3C): a link or form of ours, and what a person typed or kept. A browser that does
# not tell, and every program, gets a page as it is.
_OWN: Final = frozenset({"same-origin", "none"})
_LEVEL: Final = 6  # half a millisecond for the longest page; 9 takes longer and gains nothing


async def compress_page(response: Response) -> None:
    """Compress it, if that is safe and the browser takes it.

    `Vary` need not tell of it: no page is stored.
    """
    if request.headers.get("Sec-Fetch-Site") not in _OWN:
        return
    if request.accept_encodings["gzip"] <= 0:
        return
    content = await response.get_data(as_text=False)
    response.set_data(gzip.compress(content, _LEVEL, mtime=0))
    response.headers["Content-Encoding"] = "gzip"
