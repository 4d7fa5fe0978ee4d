"""`python -m quart_app`: all commands, their errors and exit codes."""

import sys

import click

from quart_app.cli.db import db
from quart_app.cli.keys import keys
from quart_app.cli.sessions import sessions
from quart_app.cli.users import user
from quart_app.terminal import complain, mute, prepare_streams, say_lines


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Administer quart_app, with the same settings as the server."""


cli.add_command(db)
cli.add_command(keys)
cli.add_command(sessions)
cli.add_command(user)


def main() -> None:
    """Run the command and exit with its code. An error is printed as one sentence."""
    prepare_streams()
    try:
        sys.exit(cli.main(prog_name="python -m quart_app", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        say_lines(error.format_message(), file=sys.stderr)
        sys.exit(error.exit_code)
    except click.UsageError as error:
        complain(error.format_message(), usage=error.ctx.get_usage() if error.ctx else None)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        complain(error.format_message())
        sys.exit(error.exit_code)
    except click.Abort:
        complain("Aborted.")
        sys.exit(1)
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        mute(sys.stdout)
        sys.exit(1)
    except OSError as error:  # usually a full disk; errors of files and databases end elsewhere
        mute(sys.stdout)
        complain(f"The output can't be written: {error.strerror}.")
        sys.exit(1)
