"""The results of logins in this process, counted for metrics."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from quart_app.errors import AppError

SUCCESS: Final = "success"


@dataclass(frozen=True)
class LoginResults:
    """The number of logins by result: "success", or the code of the error that refused them."""

    counts: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the login that the block is. One that its client gave up is not counted."""
        try:
            yield
        except AppError as error:
            self.counts[error.code] += 1
            raise
        self.counts[SUCCESS] += 1
