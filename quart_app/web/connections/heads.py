"""How large a request's head may be, over any version of HTTP."""

from typing import Final

# The two cookies are 8 KiB at the very most.
LARGEST_HEAD_BYTES: Final = 16 * 1024
# Browsers send about 20.
MOST_FIELDS: Final = 100
