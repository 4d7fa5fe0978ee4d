"""The outcome of a revocation at an account's server."""

import enum


class Revocation(enum.Enum):
    """The end of an access at its server."""

    DONE = enum.auto()
    FAILED = enum.auto()  # the server did not confirm it
    IN_USE = enum.auto()  # another connection has the same access token
    # The access was not granted to this application by itself: a pasted token, or one of the older
    # application. Revoking it might end what something else uses.
    NOT_OURS = enum.auto()
