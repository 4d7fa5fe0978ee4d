"""How much of a request is read, over any version of HTTP."""

from typing import Final

# The two cookies are 8 KiB at the very most.
LARGEST_HEAD_BYTES: Final = 16 * 1024
# Browsers send about 20.
MOST_FIELDS: Final = 100
# The libraries parse at once what they are given at once. Hypercorn gives them up to 64 KiB, in
# which 16,000 trailers or 7,000 frames have room.
PIECE_BYTES: Final = 4096
