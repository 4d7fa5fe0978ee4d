"""Cases of a test of which a run holds the first few, and `--thorough` all."""

from collections.abc import Sequence
from typing import Any

import pytest


def first(number: int, cases: Sequence[Any]) -> list[Any]:
    """Return the cases for `parametrize`; those after the first `number` run with --thorough.

    Put the cases first that differ most. A tuple is a case of several arguments.
    """
    return [
        *cases[:number],
        *(
            pytest.param(
                *(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.thorough
            )
            for case in cases[number:]
        ),
    ]
