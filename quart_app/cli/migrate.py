"""The command: its options, its one question, its exit codes."""

import asyncio
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import click
from sqlalchemy import URL
from sqlalchemy.exc import SAWarning

from quart_app.migration.failures import as_migration_stopped
from quart_app.migration.interruption import Interruption
from quart_app.migration.messages import report
from quart_app.migration.outcome import Interrupted, Outcome
from quart_app.migration.runner import Options, run_migration
from quart_app.settings import SettingsError, database_url_from_environ, read_database_url
from quart_app.terminal import mute, prepare_streams, say, say_lines
from quart_app.text.printable import printable

NAME = "scripts/migrate_to_cookie_sessions.py"
_FILE = click.Path(path_type=Path)


class Terminal:
    """The operator's terminal, or the program that reads our output."""

    def __init__(self, interruption: Interruption, *, json: bool) -> None:
        self.facts: dict[str, Any] = {}
        self._interruption = interruption
        self._json = json

    def say(self, text: str) -> None:
        """Show text; with --json on standard error, because standard output has the object."""
        write(sys.stderr if self._json else sys.stdout, text)

    def can_be_asked(self) -> bool:
        """Return whether there is a terminal to ask in."""
        return sys.stdin is not None and sys.stdin.isatty()

    def agrees(self, question: str) -> bool:
        """Ask on standard error, until it is yes or no; an empty line is no."""
        try:
            while True:
                say(f"{question} [y/N]: ", file=sys.stderr, end="")
                self._interruption.wait_until_readable(sys.stdin.fileno())
                line = sys.stdin.readline()
                if not line:  # its end: Control-D
                    raise Interrupted
                answer = line.strip().lower()
                if answer in {"y", "yes", "n", "no", ""}:
                    return answer.startswith("y")
                say("Please answer y or n.", file=sys.stderr)
        except KeyboardInterrupt:
            raise Interrupted from None


def write(file: Any, text: str) -> None:
    """Write; what can't be written is no reason to stop, nor to tell another outcome."""
    try:
        say_lines(text, file=file)
    except OSError as error:
        mute(file)
        if file is sys.stdout:
            write(sys.stderr, f"Writing the output failed: {error.strerror}.")


def _url(text: str | None) -> URL:
    try:
        return database_url_from_environ() if text is None else read_database_url(text)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    except ValueError as error:
        raise click.UsageError(f"--database-url {error}.") from None


def _refuse_contradictions(given: dict[str, Any]) -> None:
    names = {name: f"--{name.replace('_', '-')}" for name, value in given.items() if value}
    for first, others in {
        "backup": ["no_backup"],
        "check": ["dry_run", "backup", "no_backup", "restore", "carry_over_active_platform"],
        "restore": ["backup", "no_backup", "carry_over_active_platform"],
        "no_return": ["backup", "no_backup", "restore", "carry_over_active_platform"],
    }.items():
        for other in others:
            if first in names and other in names:
                raise click.UsageError(f"{names[first]} and {names[other]} can't be used together.")
    if "carry_back_default_platform" in names and "restore" not in names:
        raise click.UsageError("--carry-back-default-platform can only be used with --restore.")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--database-url", metavar="URL", help="The database (default: QUART_APP_DATABASE_URL)."
)
@click.option("--dry-run", is_flag=True, help="Do every step, then undo all of it.")
@click.option(
    "--check",
    is_flag=True,
    help="Report whether there is work (exit code 4) or not (0).",
)
@click.option(
    "--backup",
    type=_FILE,
    metavar="FILE",
    help="The backup file to write (default: a dated file beside the database; for PostgreSQL, in"
    " the working directory).",
)
@click.option("--no-backup", is_flag=True, help="Make no backup. You can't go back then.")
@click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
@click.option("--restore", type=_FILE, metavar="FILE", help="Restore the table from a backup.")
@click.option(
    "--carry-over-active-platform",
    is_flag=True,
    help="Make each user's last active account the default account.",
)
@click.option(
    "--carry-back-default-platform",
    is_flag=True,
    help="With --restore: make each user's default account here the default in the older"
    " application, too.",
)
@click.option(
    "--no-return",
    is_flag=True,
    help="Erase the older application's password hashes, which are kept for --restore.",
)
@click.option(
    "--json",
    is_flag=True,
    help="Write the result as one JSON object to standard output, and the rest to standard error.",
)
@click.option(
    "--verbose", is_flag=True, help="Show all names, whole checksums and the cause of an error."
)
def cli(**given: Any) -> tuple[Options, bool]:
    """Adopt the older application's database and remove its table user_sessions.

    Shows a plan, asks for confirmation, and makes all changes in one transaction. Verifies that
    everything else is unchanged. Every user must log in again afterwards.

    \b
    Exit codes: 0 done, or nothing to do · 1 failed and rolled back · 2 wrong usage, or not
    confirmed · 3 refused by a check · 4 work is pending (--check) · 5 the database is busy ·
    130 interrupted and rolled back
    """  # noqa: D301 \b is click's: keep these lines as they are
    _refuse_contradictions(given)
    return Options(
        database_url=_url(given["database_url"]),
        dry_run=given["dry_run"],
        check=given["check"],
        backup=given["backup"],
        no_backup=given["no_backup"],
        yes=given["yes"],
        restore=given["restore"],
        carry_over=given["carry_over_active_platform"],
        carry_back_default=given["carry_back_default_platform"],
        no_return=given["no_return"],
        verbose=given["verbose"],
    ), given["json"]


def main(arguments: list[str] | None = None, *, until_exit: bool = False) -> int:
    """Run the command and return its exit code; `until_exit` where the process ends with it."""
    prepare_streams()
    interruption = Interruption()
    with interruption.hearing_signals(until_exit=until_exit):
        return _main(sys.argv[1:] if arguments is None else arguments, interruption)


def _main(arguments: list[str], interruption: Interruption) -> int:
    json, verbose = "--json" in arguments, "--verbose" in arguments
    terminal = Terminal(interruption, json=json)
    try:
        outcome, message = _run(arguments, terminal, interruption)
        interruption.end()
    except _Helped:
        return Outcome.DONE.exit_code
    except click.UsageError as error:
        interruption.end()
        outcome, message = Outcome.WRONG_USAGE, error.format_message()
    except BaseException as error:  # noqa: BLE001 whatever it is, the operator gets a sentence
        interruption.end()
        outcome, message = _ending(error, interruption)
        if verbose:
            write(sys.stderr, "".join(traceback.format_exception(error)).rstrip())
        if outcome is Outcome.DONE and not json:
            write(sys.stdout, message)
    if json:
        write(sys.stdout, report(outcome, message, terminal.facts))
    elif outcome.exit_code in {0, Outcome.PENDING.exit_code}:
        if outcome is not Outcome.DONE:  # its message is the last line of what was said
            write(sys.stdout, printable(message))
    else:
        write(sys.stderr, f"Error: {printable(message)}")
    return outcome.exit_code


class _Helped(Exception):  # noqa: N818 no error
    """The help was shown, and that was all."""


def _run(
    arguments: list[str], terminal: Terminal, interruption: Interruption
) -> tuple[Outcome, str]:
    # Of types that SQLAlchemy doesn't know, which are in tables that we don't touch.
    warnings.simplefilter("ignore", SAWarning)
    parsed = cli.main(arguments, prog_name=NAME, standalone_mode=False)
    if not isinstance(parsed, tuple):
        raise _Helped
    return asyncio.run(run_migration(parsed[0], terminal, interruption))


def _ending(error: BaseException, interruption: Interruption) -> tuple[Outcome, str]:
    if interruption.was_committed:
        said = f"{type(error).__name__} {error}".strip()
        return (
            Outcome.DONE,
            f"Done: the change was committed, but an error ended the report ({said}).",
        )
    stopped = as_migration_stopped(error)
    if isinstance(error, KeyboardInterrupt | asyncio.CancelledError | click.Abort):
        stopped = Interrupted()
    if stopped is None:
        said = " ".join(str(error).split())
        return Outcome.FAILED, f"{type(error).__name__}: {said} (use --verbose for details)"
    # By somebody else: an administrator of the server, for example.
    canceled = isinstance(stopped, Interrupted) and not isinstance(
        error, Interrupted | KeyboardInterrupt | asyncio.CancelledError | click.Abort
    )
    if canceled and not interruption.was_asked:
        return Outcome.FAILED, stopped.sentence
    return stopped.outcome, stopped.sentence
