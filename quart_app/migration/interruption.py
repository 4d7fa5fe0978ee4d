"""That the operator wants it to stop: asked by a signal, heard by the thread that works."""

import selectors
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from quart_app.migration.outcome import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """What the signals' handler and the working thread share.

    Once the commit has begun it is too late: what happened is then told as it is.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._asked = self._heard = self._too_late = False
        self._working = self._committed = self._over = False
        self._cancels: list[Callable[[], None]] = []

    def ask(self) -> None:
        """Stop: the thread at its next step; where none works, raise KeyboardInterrupt here."""
        if self._too_late or self._over:
            return
        self._asked = True
        if not self._working:
            raise KeyboardInterrupt

    @contextmanager
    def hearing_signals(self, *, until_exit: bool) -> Iterator[None]:
        """Let signals ask, from here to the end of the block.

        `until_exit` ignores them from then on: the interpreter puts handlers back to the signals'
        defaults as it ends, and one would end it with another exit code than what was told.
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
        """Let signals be heard by the thread alone."""
        self._working = True
        try:
            yield
        finally:
            self._working = False

    def end(self) -> None:
        """Hear nothing any more: how it ended stands, and is being told."""
        self._over = True

    def cancel_statement(self) -> None:
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

    def disarm(self) -> None:
        """From here on cancel nothing: what runs now is the way back."""
        with self._turn:
            self._heard = True

    def rearm(self) -> None:
        """Let what runs be ended again: something failed, and is tried once more."""
        with self._turn:
            self._heard = False
        self.check()

    def commit_begins(self) -> None:
        """Let nothing stop what comes now."""
        with self._turn:
            self.check()
            self._too_late = True

    def committed(self) -> None:
        """Note that it happened, whatever fails from now on."""
        self._committed = True

    @property
    def was_committed(self) -> bool:
        """Whether it happened."""
        return self._committed

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
