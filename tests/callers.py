"""Callers of use cases that tests call without HTTP."""

from typing import Final

from callers import A_SID, caller_from, caller_of

from quart_app.services.caller import Caller

__all__ = ["A_SID", "NOBODY", "caller_from", "caller_of"]

NOBODY: Final = Caller.command_line()
