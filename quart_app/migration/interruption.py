"""Interruption by the operator: a signal asks for it, and the working thread obeys."""

import selectors
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from quart_app.migration.outcome import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """The state that the signal handler and the working thread share.

    Once the commit has begun it is too late to stop; the run then reports what happened.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._asked = self._heard = self._too_late = False
        self._working = self._committed = self._over = False
        self._cancels: list[Callable[[], None]] = []

    def ask(self) -> None:
        """Stop the thread at its next step; if none is working, raise KeyboardInterrupt here."""
        if self._too_late or self._over:
            return
        self._asked = True
        if not self._working:
            raise KeyboardInterrupt

    @contextmanager
    def hearing_signals(self, *, until_exit: bool) -> Iterator[None]:
        """Let signals interrupt the block.

        `until_exit` ignores them afterwards. The interpreter restores the default handlers as it
        ends, and a signal would then change the exit code that was reported.
        """
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        if before[signal.SIGHUP] is signal.SIG_IGN:  # nohup
            del before[signal.SIGHUP]
        for number in before:
            signal.signal(number, lambda *_: self.ask())
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_IGN if until_exit else handler)

    def wait_until_readable(self, file: int) -> None:
        """Wait for a file descriptor's input. Raises KeyboardInterrupt when a signal comes.

        A signal that comes just before a read begins would leave that read waiting: this waits
        for the byte that the signal's arrival writes, too. For the main thread alone.
        """
        ours, theirs = socket.socketpair()
        with ours, theirs, selectors.DefaultSelector() as selector:
            theirs.setblocking(False)
            before = signal.set_wakeup_fd(theirs.fileno())
            try:
                selector.register(ours, selectors.EVENT_READ)
                selector.register(file, selectors.EVENT_READ)
                while all(key.fileobj is ours for key, _ in selector.select()):
                    ours.recv(1)
            finally:
                signal.set_wakeup_fd(before)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Pass signals to the working thread only."""
        self._working = True
        try:
            yield
        finally:
            self._working = False

    def end(self) -> None:
        """Ignore signals from now on: the outcome is final and is being reported."""
        self._over = True

    def cancel_statement(self) -> None:
        """Cancel the running statement; repeat it, because a statement may be about to start."""
        with self._turn:
            if self._asked and not self._heard and not self._too_late:
                for cancel in self._cancels:
                    with suppress(Exception):  # usually a connection that was just closed
                        cancel()

    def check(self) -> None:
        """Raise Interrupted if the operator asked for it."""
        if self._asked and not self._too_late:
            self._heard = True
            raise Interrupted

    def disarm(self) -> None:
        """Cancel nothing from now on, because the rollback is running."""
        with self._turn:
            self._heard = True

    def rearm(self) -> None:
        """Allow cancelling again, because a failed step is being retried."""
        with self._turn:
            self._heard = False
        self.check()

    def commit_begins(self) -> None:
        """Let nothing stop the commit, which begins now."""
        with self._turn:
            self.check()
            self._too_late = True

    def committed(self) -> None:
        """Note that the commit succeeded, whatever fails later."""
        self._committed = True

    @property
    def was_committed(self) -> bool:
        """Whether the commit succeeded."""
        return self._committed

    @property
    def was_asked(self) -> bool:
        """Whether the operator asked to stop."""
        return self._asked

    @contextmanager
    def canceling(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Use `cancel` to end a connection's statement from another thread."""
        with self._turn:
            self._cancels.append(cancel)
        try:
            yield
        finally:
            with self._turn:
                self._cancels.remove(cancel)
