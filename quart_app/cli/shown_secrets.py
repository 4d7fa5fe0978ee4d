"""Passwords and links that a command shows once, on standard output."""

import sys

import click

from quart_app.services.identity.reset_tokens import ResetLink
from quart_app.terminal import Streams, mute, say


def refuse_to_hide_a_secret() -> None:
    """Refuse to make a password or link that nobody could read. Raises ClickException."""
    if Streams.is_output_closed:
        raise click.ClickException(
            "Standard output is closed, so nobody could read the secret. Nothing was changed."
        )


def say_with_password(sentence: str, password: str | None, name: str) -> None:
    """Show a sentence, in one line with a generated password: `| head -1` must not lose it."""
    if password is None:
        say(sentence)
        return
    _show_secret(
        f"{sentence} Password, shown this once and to be changed at the first login: {password}",
        otherwise=(
            f"The password was set, but it could not be shown: set another by `user passwd {name}`."
        ),
    )


def show_link(link: ResetLink, *, before: str | None = None) -> None:
    """Show a reset link and until when it works; `before` is the first line."""
    until = f"{link.expires_at:%Y-%m-%d %H:%M} UTC"
    _show_secret(
        *([before] if before else []),
        f"{link.username} sets a password by this link, until {until}:",
        link.url,
        otherwise=(
            "The link was made, but it could not be shown:"
            f" make another by `user reset-link {link.username}`."
        ),
    )


def _show_secret(*lines: str, otherwise: str) -> None:
    """Show lines once; if that fails, `otherwise` says how to make another secret."""
    try:
        for line in lines:
            say(line)
    except OSError as error:
        mute(sys.stdout)
        raise click.ClickException(f"{otherwise} (The output failed: {error.strerror}.)") from None
