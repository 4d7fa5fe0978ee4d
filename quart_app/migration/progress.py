"""Progress of steps on standard error: bars in a terminal, lines anywhere else."""

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from quart_app.migration.interruption import Interruption
from quart_app.text.printable import printable

_LINE_EVERY_SECONDS = 2.0


class Step:
    """One step under way; the working thread calls `advance`."""

    def __init__(self, interruption: Interruption, *, total: int | None, unit: str) -> None:
        self.total, self.unit, self.done = total, unit, 0
        self.began = time.monotonic()
        self._interruption = interruption

    def advance(self, number: int) -> None:
        """Add to the count; raises Interrupted if the operator asked to stop."""
        self.done += number
        self._interruption.check()
        self.show()

    def show(self) -> None:
        """Show the progress."""

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self.began

    def in_words(self) -> str:
        """Return counts and rate."""
        of = f" of {self.total:,}" if self.total is not None and self.done < self.total else ""
        rate = f", {self.done / self.seconds:,.0f} {self.unit}/s" if self.seconds > 0 else ""
        return f"{self.done:,}{of} {self.unit}{rate}"


class Reporter(ABC):
    """Shows steps; it never stops the work, even if its output is closed."""

    def __init__(self, interruption: Interruption) -> None:
        self.interruption = interruption

    @contextmanager
    def step(self, title: str, *, total: int | None = None, unit: str = "rows") -> Iterator[Step]:
        """Show a step from here to the end of the block."""
        self.interruption.check()
        with self._shown(printable(title), total, unit) as step:
            yield step
        self.interruption.check()

    @abstractmethod
    @contextmanager
    def _shown(self, title: str, total: int | None, unit: str) -> Iterator[Step]: ...


class _LineStep(Step):
    def __init__(
        self, interruption: Interruption, *, total: int | None, unit: str, title: str, file: TextIO
    ) -> None:
        super().__init__(interruption, total=total, unit=unit)
        self._title, self._file, self._last = title, file, self.began
        self.say(f"{title} …")

    def say(self, line: str) -> None:
        with suppress(OSError, ValueError):  # the output was closed
            self._file.write(f"{line}\n")
            self._file.flush()

    def show(self) -> None:
        now = time.monotonic()
        if now - self._last >= _LINE_EVERY_SECONDS:
            self._last = now
            self.say(f"{self._title}: {self.in_words()}")

    def end(self) -> None:
        counted = f"{self.in_words()}, " if self.done else ""
        self.say(f"{self._title}: {counted}{self.seconds:.1f} s")


class Lines(Reporter):
    """Plain lines: where a step begins, how far it is every two seconds, and where it ends."""

    @contextmanager
    def _shown(self, title: str, total: int | None, unit: str) -> Iterator[Step]:
        step = _LineStep(self.interruption, total=total, unit=unit, title=title, file=sys.stderr)
        yield step
        step.end()


class _Counts(ProgressColumn):
    def render(self, task: Task) -> Text:
        if not task.completed:
            return Text(f"{task.elapsed or 0:.1f} s")
        step: Step = task.fields["step"]
        return Text(step.in_words())


class _BarStep(Step):
    """A step whose bar is drawn by rich's own thread."""

    progress: Progress | None = None

    def show(self) -> None:
        if self.progress is not None:
            self.progress.update(self.progress.task_ids[-1], completed=self.done)


class Bars(Reporter):
    """Bars with counts and rates; rich applies NO_COLOR and the terminal's width."""

    @contextmanager
    def _shown(self, title: str, total: int | None, unit: str) -> Iterator[Step]:
        step = _BarStep(self.interruption, total=total, unit=unit)
        columns = (
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _Counts(),
        )
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task(title, total=total, step=step)
            step.progress = progress
            yield step
            progress.update(task, total=step.done or 1, completed=step.done or 1)


def reporter_for(interruption: Interruption) -> Reporter:
    """Return bars if standard error is a terminal that can show them, otherwise lines."""
    console = Console(stderr=True)
    in_terminal = sys.stderr.isatty() and not console.is_dumb_terminal
    return Bars(interruption) if in_terminal else Lines(interruption)
