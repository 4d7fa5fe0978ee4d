"""Passwords and links that a command shows once, on standard output."""

import sys

import click

from quart_app.services.identity.reset_tokens import ResetLink
from quart_app.terminal import Streams, mute, say


def refuse_to_hide_a_secret() -> None:
    """Refuse to generate a password or link that nobody could read. Raises ClickException."""
    if Streams.is_output_closed:
        raise click.ClickException(
            "Standard output is closed, so nobody could read the secret. Nothing was changed."
        )


def say_with_password(sentence: str, password: str | None, name: str) -> None:
    """Print a sentence and the generated password on one line, so that `| head -1` shows it."""
    if password is None:
        say(sentence)
        return
    _show_secret(
        f"{sentence} The one-time password is shown only now"
        f" and must be changed at the first login: {password}",
        otherwise=(
            "The password was set, but it could not be shown:"
            f" set another one with `user passwd {name}`."
        ),
    )


def show_link(link: ResetLink, *, before: str | None = None) -> None:
    """Print a reset link and when it expires, after the line `before` if given."""
    until = f"{link.expires_at:%Y-%m-%d %H:%M} UTC"
    _show_secret(
        *([before] if before else []),
        f"Link for {link.username} to set a password, valid until {until}:",
        link.url,
        otherwise=(
            "The link was created, but it could not be shown:"
            f" create another one with `user reset-link {link.username}`."
        ),
    )


def _show_secret(*lines: str, otherwise: str) -> None:
    """Print lines with a secret; if that fails, `otherwise` says how to generate another one."""
    try:
        for line in lines:
            say(line)
    except OSError as error:
        mute(sys.stdout)
        raise click.ClickException(f"{otherwise} (The output failed: {error.strerror}.)") from None
