"""Parametrized cases: the first few run by default, and all of them with `--thorough`."""

from collections.abc import Sequence
from typing import Any

import pytest


def first_unless_thorough(number: int, cases: Sequence[Any]) -> list[Any]:
    """Return the cases for `parametrize`; those after the first `number` run only with --thorough.

    Put the cases that differ most first. A tuple is a case of several arguments.
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
