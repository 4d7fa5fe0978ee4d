"""`python -m quart_app db`: the database schema."""

import sys

import click

from quart_app.cli.use_cases import read_settings, run, run_coroutine
from quart_app.settings import SECRETS_FILE
from quart_app.storage.schema import makes_a_new_file, upgrade_schema
from quart_app.storage.schema.legacy_refusals import refused_by_the_legacy_login
from quart_app.terminal import say


@click.group()
def db() -> None:
    """Create or upgrade the database schema."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Create or upgrade the schema, in one transaction.

    A database of the older application is adopted: its users and platform connections stay.
    """
    url = read_settings().database_url
    is_new = makes_a_new_file(url)
    before, after = run_coroutine(upgrade_schema(url, own_folder=SECRETS_FILE.parent))
    if is_new:
        say(f"Created the database file {url.database}.")
    if before == after:
        say(f"The database is already at revision {after}.")
    else:
        say(f"The database is now at revision {after} (before: {before or 'none'}).")
        for line in run_coroutine(refused_by_the_legacy_login(url)).in_words():
            say(line)
    if warning := run(lambda services: services.sealed_credentials.fit()).sentence:
        say(f"Warning: {warning}", file=sys.stderr)
