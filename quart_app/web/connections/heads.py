"""How much of a request is read, over any version of HTTP."""

from typing import Final

# In a head, whose size hypercorn.toml bounds. Browsers send about 20.
MOST_FIELDS: Final = 100
# The libraries parse at once what they are given at once. Hypercorn gives them up to 64 KiB, in
# which 16,000 trailers or 7,000 frames have room.
PIECE_BYTES: Final = 4096
