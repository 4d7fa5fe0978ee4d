"""Limits on how much of a request is read, in any version of HTTP."""

from typing import Final

# Header fields in a head. Browsers send about 20. hypercorn.toml limits the size of the head.
MOST_FIELDS: Final = 100
# The libraries parse a whole piece without a pause. Hypercorn passes pieces of up to 64 KiB, enough
# for 16,000 trailers or 7,000 frames.
PIECE_BYTES: Final = 4096
