"""Compile each URL rule once for all the applications of a test process.

Werkzeug generates and compiles two functions for each rule of an application. That is 70 % of the
time for making an application, and almost every test makes one.
"""

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.routing import Rule

_compile_builder = Rule._compile_builder
_compiled: dict[tuple[object, ...], Callable[..., tuple[str, str]]] = {}


def _compile_once(self: Rule, append_unknown: bool = True) -> Any:  # noqa: FBT001, FBT002 werkzeug's signature
    """Return one function for all rules that Werkzeug would generate the same code for.

    It takes the rule itself as an argument. A default may be converted into a constant.
    """
    if self.defaults:
        return _compile_builder(self, append_unknown)
    key = (self.rule, tuple(self._trace), append_unknown)
    if key not in _compiled:
        _compiled[key] = _compile_builder(self, append_unknown)
    return _compiled[key]


@pytest.fixture(scope="session", autouse=True)
def compiled_routes() -> None:
    """Share compiled rules from here on."""
    Rule._compile_builder = _compile_once  # type: ignore[method-assign]
