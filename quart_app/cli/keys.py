"""`python -m quart_app keys`: generate secrets for the settings."""

import click

from quart_app.cli.secrets_file import new_secrets
from quart_app.terminal import say


@click.group()
def keys() -> None:
    """Generate secrets."""


@keys.command("new")
def keys_new() -> None:
    """Print new secrets as lines for a .env file, without writing a file."""
    for name, value in new_secrets().items():
        say(f"{name}={value}")
