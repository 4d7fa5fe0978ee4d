"""`python -m quart_app keys`: generate secrets for the settings, and replace the encryption key."""

import sys
from typing import Final

import click

from quart_app.cli.secrets_file import new_secrets
from quart_app.cli.use_cases import run
from quart_app.terminal import say


@click.group()
def keys() -> None:
    """Generate secrets, and replace the encryption key."""


@keys.command("new")
def keys_new() -> None:
    """Print new secrets as lines for a .env file, without writing a file."""
    for name, value in new_secrets().items():
        say(f"{name}={value}")


_SECRETS_LOST: Final = 3
_MOST_NAMED: Final = 20


@keys.command("rotate")
@click.pass_context
def keys_rotate(context: click.Context) -> None:
    """Encrypt all stored credentials with the newest key.

    First let every process of the application use the new key: put it before the old one in
    QUART_APP_PLATFORM_ENCRYPTION_KEY, and restart. Then run this command, beside the running
    application if you like. You can stop it and run it again. Afterwards remove the old key.

    \b
    Exit codes:
      0  every credential is encrypted with the newest key
      1  the database failed; run the command again
      3  some credentials can't be decrypted with any key; their connections are named
    """  # noqa: D301 click reads the backspace
    rotated = run(lambda services: services.key_rotation.rotate(_show_progress))
    say(f"Encrypted {rotated.resealed:,} credentials with the newest key.")
    if rotated.sealed_before:
        say(f"The newest key had encrypted {rotated.sealed_before:,} already.")
    if rotated.unopened:
        say(f"Warning: credentials that no key decrypts: {rotated.unopened:,}.", file=sys.stderr)
        ids = rotated.connection_ids
        if ids:
            more = ", …" if len(ids) > _MOST_NAMED else ""
            named = ", ".join(map(str, ids[:_MOST_NAMED])) + more
            say(f"Reconnect the accounts of these connections: {named}", file=sys.stderr)
        context.exit(_SECRETS_LOST)
    say("Only the first key of QUART_APP_PLATFORM_ENCRYPTION_KEY is needed now.")


def _show_progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        say(f"{done:,} of {of:,} rows", file=sys.stderr, end="\n" if done == of else "\r")
