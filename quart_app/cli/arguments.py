"""Arguments and options that several commands share."""

import re
import sys
from typing import Final

import click

from quart_app.model import Role


def check_utf8(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> str | None:
    """Return the text of an argument. Raises BadParameter if its bytes are not UTF-8."""
    if text and re.search("[\ud800-\udfff]", text):  # surrogateescape, for bytes that aren't UTF-8
        raise click.BadParameter("it is not UTF-8.")
    return text


name_argument = click.argument("name", callback=check_utf8)
ROLE: Final = click.Choice([role.value for role in Role])
password_stdin_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input."
)


def read_password(*, from_stdin: bool) -> str | None:
    """Return the password that was typed or piped; None if the command must generate one.

    Raises ClickException if standard input has no password or can't be read.
    """
    if from_stdin:
        text = re.sub(r"\r?\n\Z", "", _read_standard_input())
        if not text:
            raise click.ClickException("There is no password on standard input.")
        return text
    if not sys.stdin.isatty():
        return None
    typed: str = click.prompt(
        "Password (leave empty to generate one)",
        default="",
        hide_input=True,
        show_default=False,
        confirmation_prompt=True,
    )
    return typed or None


def _read_standard_input() -> str:
    """Return the text on standard input, without the byte order mark that some programs write."""
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    except OSError as error:
        raise click.ClickException(f"Standard input can't be read: {error.strerror}.") from None
    if "\0" in text:  # in UTF-16, every Latin letter has a null byte
        raise click.ClickException("The password on standard input is not UTF-8.")
    return text
