"""That the operator wants it to stop: asked by a signal, heard by the thread that works."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from quart_app.migration.outcome import Interrupted


class Interruption:
    """What the event loop's signal handler and the working thread share.

    Once the commit has begun it is too late: what happened is then told as it is.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._asked = self._heard = self._too_late = False
        self._cancels: list[Callable[[], None]] = []

    def ask(self) -> None:
        """Let the thread stop at its next step."""
        self._asked = True

    def hurry(self) -> None:
        """End the statement that runs now; to be repeated, for it may just be about to start."""
        with self._turn:
            if self._asked and not self._heard and not self._too_late:
                for cancel in self._cancels:
                    with suppress(Exception):  # a connection that was just closed, as a rule
                        cancel()

    def check(self) -> None:
        """Raise Interrupted where it was asked for."""
        if self._asked and not self._too_late:
            self._heard = True
            raise Interrupted

    def let_go(self) -> None:
        """From here on cancel nothing: what runs now is the way back."""
        with self._turn:
            self._heard = True

    def go_on(self) -> None:
        """Let what runs be ended again: something failed, and is tried once more."""
        with self._turn:
            self._heard = False
        self.check()

    def commit_begins(self) -> None:
        """Let nothing stop what comes now."""
        with self._turn:
            self.check()
            self._too_late = True

    @property
    def was_asked(self) -> bool:
        """Whether the operator wanted it to stop."""
        return self._asked

    @contextmanager
    def canceling(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Let `cancel` end the statement of a connection, from another thread."""
        with self._turn:
            self._cancels.append(cancel)
        try:
            yield
        finally:
            with self._turn:
                self._cancels.remove(cancel)
