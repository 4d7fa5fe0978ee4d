"""`python -m quart_app`: administration from the command line, by the same services as the web."""

import asyncio
import fcntl
import os
import re
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import click
from cryptography.fernet import Fernet

from quart_app.composition import build_services
from quart_app.errors import AppError, Unavailable
from quart_app.model import Role
from quart_app.services import Services
from quart_app.services.identity.reset_links import ResetLink
from quart_app.services.platforms.sealed_credentials import refuse_new_key
from quart_app.settings import (
    PREFIX,
    SECRETS_FILE,
    Settings,
    SettingsError,
    database_url_from_environ,
    missing_secrets,
)
from quart_app.storage.database import Database
from quart_app.storage.schema import makes_a_new_file, upgrade_schema
from quart_app.storage.schema.legacy_refusals import refused_by_the_legacy_login
from quart_app.terminal import Streams, complain, mute, prepare_streams, say, say_lines

SECRET_BYTES = 32
_OWNER_ONLY = 0o600

T = TypeVar("T")


def new_secrets() -> dict[str, str]:
    """Return new secrets by their environment names."""
    return {
        f"{PREFIX}SECRET_KEY": secrets.token_hex(SECRET_BYTES),
        f"{PREFIX}PLATFORM_ENCRYPTION_KEY": Fernet.generate_key().decode(),
    }


def write_missing_secrets() -> list[str]:
    """Append to instance/.env, readable by its owner only, the secrets that nothing gives yet.

    Returns the names written. What stands there, in .env or in the environment is never replaced:
    a new key would log everyone out and make every stored credential unreadable. Two that start at
    once take turns. Raises SettingsError where a file can't be read, or must be written and can't.
    """
    if not missing_secrets():
        return []
    try:
        return _write_missing_secrets()
    except OSError as error:
        raise SettingsError(
            f"{' and '.join(missing_secrets())} can't be written to {SECRETS_FILE}"
            f" ({error.strerror}): let this user write there, or set them in the environment"
        ) from None


def refuse_new_encryption_key() -> None:
    """Make sure that a missing PLATFORM_ENCRYPTION_KEY may be made.

    Raises WrongEncryptionKey where the database holds credentials that it would not open,
    Unavailable where that can't be told, SettingsError.
    """
    if f"{PREFIX}PLATFORM_ENCRYPTION_KEY" not in missing_secrets():
        return
    url = database_url_from_environ()
    if makes_a_new_file(url):
        return

    async def refuse() -> None:
        database = Database(url)
        try:
            await refuse_new_key(database)
        finally:
            await database.close()

    asyncio.run(refuse())


def _write_missing_secrets() -> list[str]:
    SECRETS_FILE.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    opened = os.open(SECRETS_FILE, os.O_RDWR | os.O_CREAT | os.O_APPEND, _OWNER_ONLY)
    with os.fdopen(opened, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        os.fchmod(file.fileno(), _OWNER_ONLY)
        missing, made = missing_secrets(), new_secrets()
        lines = [f"{name}={made[name]}\n".encode() for name in missing]
        standing = file.read()
        if lines and standing and not standing.endswith(b"\n"):
            file.write(b"\n")
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    return missing


@asynccontextmanager
async def services_of(settings: Settings) -> AsyncIterator[Services]:
    """Build the use cases for one command, and let go of the database afterwards."""
    built = build_services(settings)
    try:
        yield built.services
    finally:
        await built.close()


def _settings() -> Settings:
    try:
        return Settings.from_environ()
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def _run(work: Callable[[Services], Coroutine[Any, Any, T]]) -> T:
    """Run one use case; what it refuses is one sentence and exit code 1."""

    async def run() -> T:
        async with services_of(_settings()) as services:
            return await work(services)

    return _run_coroutine(run())


def _run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(coroutine)
    except AppError as error:
        raise click.ClickException(sentence_for_operator(error)) from None


def sentence_for_operator(error: AppError) -> str:
    """Return the error's sentence; of a database that is away, with the cause and the setting."""
    cause = getattr(error.__cause__, "orig", None) or error.__cause__
    if not isinstance(error, Unavailable) or cause is None:
        return error.sentence
    said = next(iter(str(cause).splitlines()), type(cause).__name__)
    return (
        f"The database does not answer: {said}."
        f" Is {PREFIX}DATABASE_URL right, and was `db upgrade` run?"
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Administer quart_app. Settings are read as the server reads them."""


@cli.group()
def db() -> None:
    """Make, adopt and upgrade the database's schema."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Make the schema, or adopt and upgrade what stands there, in one transaction."""
    url = _settings().database_url
    is_new = makes_a_new_file(url)
    before, after = _run_coroutine(upgrade_schema(url, own_folder=SECRETS_FILE.parent))
    if is_new:
        say(f"A new database file was made: {url.database}.")
    if before == after:
        say(f"The database is at revision {after} already.")
    else:
        say(f"The database is at revision {after} now (before: {before or 'none'}).")
        for line in _run_coroutine(refused_by_the_legacy_login(url)).in_words():
            say(line)
    if warning := _run(lambda services: services.sealed_credentials.fit()).sentence:
        say(f"Warning: {warning}", file=sys.stderr)


@cli.group()
def user() -> None:
    """Administer the people who log in."""


def _read_standard_input() -> str:
    """Return its text without a byte order mark, which some programs write at the beginning."""
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    except OSError as error:
        raise click.ClickException(f"Standard input can't be read: {error.strerror}.") from None
    if "\0" in text:  # UTF-16 has one in each Latin letter
        raise click.ClickException("The password on standard input is not UTF-8.")
    return text


def _read_password(*, from_stdin: bool) -> str | None:
    """Return the password that was typed or piped; None where one is to be generated."""
    if from_stdin:
        text = re.sub(r"\r?\n\Z", "", _read_standard_input())
        if not text:
            raise click.ClickException("Standard input holds no password.")
        return text
    if not sys.stdin.isatty():
        return None
    typed: str = click.prompt(
        "Password (empty: one is generated)",
        default="",
        hide_input=True,
        show_default=False,
        confirmation_prompt=True,
    )
    return typed or None


def _refuse_to_hide_a_secret() -> None:
    """Refuse to make a password or link while nobody could read it. Raises ClickException."""
    if Streams.is_output_closed:
        raise click.ClickException(
            "Standard output is closed, so nobody could read the secret. Nothing was changed."
        )


def _show_secret(*lines: str, otherwise: str) -> None:
    """Show what is shown only once; where that fails, `otherwise` says what to do."""
    try:
        for line in lines:
            say(line)
    except OSError as error:
        mute(sys.stdout)
        raise click.ClickException(f"{otherwise} (The output failed: {error.strerror}.)") from None


def _say_with_password(sentence: str, password: str | None, name: str) -> None:
    """Say it, in one line with a password that was generated: `| head -1` must not lose it."""
    if password is None:
        say(sentence)
        return
    _show_secret(
        f"{sentence} Password, shown this once and to be changed at the first login: {password}",
        otherwise=(
            f"The password was set, but it could not be shown: set another by `user passwd {name}`."
        ),
    )


def _utf8(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    if text and re.search("[\ud800-\udfff]", text):  # how Python reads bytes that are not UTF-8
        raise click.BadParameter("it is not UTF-8.")
    return text


_name = click.argument("name", callback=_utf8)
_ROLE = click.Choice([role.value for role in Role])
_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input."
)


@user.command("create")
@_name
@click.argument("email")
@click.option(
    "--role",
    type=_ROLE,
    default=Role.VIEWER.value,
    show_default=True,
)
@_password_stdin
@click.option("--link", is_flag=True, help="Print a link by which they set a password themselves.")
def user_create(name: str, email: str, role: str, *, password_stdin: bool, link: bool) -> None:
    """Create a user.

    In a terminal the password is asked for; --password-stdin reads it from a pipe. Otherwise, or
    where return is pressed, one is generated, shown this once and to be changed at first login.
    With --link there is none: the link works once, and the command says until when.
    """
    if link and password_stdin:
        raise click.UsageError("Give either --link or --password-stdin.")
    if link:
        _refuse_to_hide_a_secret()
        made = _run(
            lambda services: services.membership.create_for_operator(
                username=name, email=email, role=Role(role)
            )
        )
        _show_link(made, before=f"User {made.username} is created, as {role}.")
        return
    password = _read_password(from_stdin=password_stdin)
    if password is None:
        _refuse_to_hide_a_secret()
    created, generated = _run(
        lambda services: services.users.create_user(
            username=name, email=email, role=Role(role), password=password
        )
    )
    sentence = f"User {created.username} is created, as {created.role.value}."
    _say_with_password(sentence, generated, created.username)


@user.command("list")
def user_list() -> None:
    """List every user."""
    users = _run(lambda services: services.users.everybody())
    if not users:
        say("There is no user yet.")
    for each in users:
        last = (
            f"last login: {each.last_login:%Y-%m-%d %H:%M} UTC"
            if each.last_login
            else "no login yet"
        )
        state = "active" if each.is_active else "inactive"
        fields = (str(each.id), each.username, each.email, each.role.value, state, last)
        say(*fields)


@user.command("passwd")
@_name
@_password_stdin
@click.option(
    "--for-legacy",
    is_flag=True,
    help="Store it so that the older application reads it, after a migration was restored.",
)
def user_passwd(name: str, *, password_stdin: bool, for_legacy: bool) -> None:
    """Give a user another password, and end their sessions.

    It is asked for, piped or generated as by `user create`.
    """
    password = _read_password(from_stdin=password_stdin)
    if password is None:
        _refuse_to_hide_a_secret()
    generated = _run(
        lambda services: services.users.reset_password(name, password, for_legacy=for_legacy)
    )
    sentence = f"The password of {name} is changed, and their sessions are over."
    _say_with_password(sentence, generated, name)


@user.command("reset-link")
@_name
def user_reset_link(name: str) -> None:
    """Print a link by which a user sets a password: it works once, and the command says until when.

    It is shown this once, and makes void any that was made before.
    """
    _refuse_to_hide_a_secret()
    link = _run(lambda services: services.reset_links.make_for_user_named(name))
    _show_link(link)


def _show_link(link: ResetLink, *, before: str | None = None) -> None:
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


@user.command("deactivate")
@_name
def user_deactivate(name: str) -> None:
    """Let a user log in no more, and end their sessions."""
    was_last_admin = _run(lambda services: services.users.deactivate(name))
    say(f"User {name} is deactivated, and their sessions are over.")
    _warn_of_no_administrator(is_due=was_last_admin)


def _warn_of_no_administrator(*, is_due: bool) -> None:
    if is_due:
        say("Warning: no active user is an administrator any more.", file=sys.stderr)


@user.command("activate")
@_name
def user_activate(name: str) -> None:
    """Let a user log in again who was deactivated; the password is the one they had."""
    _run(lambda services: services.users.activate(name))
    say(f"User {name} is active.")


@user.command("role")
@_name
@click.argument("role", type=_ROLE)
def user_role(name: str, role: str) -> None:
    """Give a user another role, which holds at once. Their sessions go on."""
    was_last_admin = _run(lambda services: services.users.change_role(name, Role(role)))
    say(f"The role of {name} is {role}.")
    _warn_of_no_administrator(is_due=was_last_admin)


@cli.group()
def sessions() -> None:
    """List and end sessions that are alive."""


@sessions.command("list")
@_name
def sessions_list(name: str) -> None:
    """List where the user NAME is logged in: logins not ended and within their limit."""
    _, logins = _run(lambda services: services.devices.logins_of_user_named(name))
    if not logins:
        say(f"{name} is not logged in anywhere.")
    for each in logins:
        since, until = (f"{at:%Y-%m-%d %H:%M} UTC" for at in (each.created_at, each.expires_at))
        where = each.address or "an unknown address"
        agent = each.user_agent or "unknown"
        say(each.id, f"since {since}", f"until {until}", where, agent)


@sessions.command("end")
@click.argument("name", callback=_utf8, required=False)
@click.option("--all", "everybodys", is_flag=True, help="End everybody's.")
def sessions_end(name: str | None, *, everybodys: bool) -> None:
    """End every session of the user NAME, or with --all of everybody.

    --all is for a restored database. A key that has leaked must be replaced: whoever has it signs
    sessions that began later.
    """
    if everybodys == (name is not None):
        raise click.UsageError("Give either a NAME or --all.")
    if name is None:
        _run(lambda services: services.sessions.end_everybodys())
        say("Every session is over; everybody logs in again.")
    else:
        _run(lambda services: services.users.end_sessions(name))
        say(f"Every session of {name} is over.")


@cli.group()
def keys() -> None:
    """Make secrets."""


@keys.command("new")
def keys_new() -> None:
    """Print new secrets, as lines for a .env file. Nothing is written."""
    for name, value in new_secrets().items():
        say(f"{name}={value}")


def main() -> None:
    """Run the command and end the process with its exit code; an error is one sentence."""
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
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        mute(sys.stdout)
        sys.exit(1)
    except OSError as error:  # a full disk, as a rule; of files and databases others have told
        mute(sys.stdout)
        complain(f"The output can't be written: {error.strerror}.")
        sys.exit(1)


if __name__ == "__main__":
    main()
