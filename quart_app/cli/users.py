"""`python -m quart_app user`: administer users."""

import sys

import click

from quart_app.cli.arguments import (
    ROLE,
    name_argument,
    password_stdin_option,
    read_password,
)
from quart_app.cli.shown_secrets import (
    refuse_to_hide_a_secret,
    say_with_password,
    show_link,
)
from quart_app.cli.use_cases import run
from quart_app.model import Role
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.caller import Caller
from quart_app.terminal import say


@click.group()
def user() -> None:
    """Administer users."""


@user.command("create")
@name_argument
@click.argument("email")
@click.option(
    "--role",
    type=ROLE,
    default=Role.VIEWER.value,
    show_default=True,
)
@password_stdin_option
@click.option("--link", is_flag=True, help="Print a link where the user sets a password.")
def user_create(name: str, email: str, role: str, *, password_stdin: bool, link: bool) -> None:
    """Create the user NAME.

    In a terminal, you are asked for the password. --password-stdin reads it from a pipe. Otherwise,
    or if you only press return, a one-time password is generated and shown once; the user must
    change it at the first login. With --link, the user sets the password with a link, which works
    once and is shown with its expiry.
    """
    if link and password_stdin:
        raise click.UsageError("Give either --link or --password-stdin.")
    if link:
        refuse_to_hide_a_secret()
        made = run(
            lambda services: services.users.create_with_link(
                Caller.command_line(), username=name, email=email, role=Role(role)
            )
        )
        show_link(made, before=f"Created user {made.username}, role {role}.")
        return
    password = read_password(from_stdin=password_stdin)
    if password is None:
        refuse_to_hide_a_secret()
    created, generated = run(
        lambda services: services.users.create(
            Caller.command_line(), username=name, email=email, role=Role(role), password=password
        )
    )
    sentence = f"Created user {created.username}, role {created.role.value}."
    say_with_password(sentence, generated, created.username)


@user.command("list")
def user_list() -> None:
    """List all users."""
    users = run(lambda services: services.users.everybody(Caller.command_line()))
    if not users:
        say("There are no users yet.")
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
@name_argument
@password_stdin_option
@click.option(
    "--for-legacy",
    is_flag=True,
    help="Store a hash that the older application can read (after --restore).",
)
def user_passwd(name: str, *, password_stdin: bool, for_legacy: bool) -> None:
    """Set the password of the user NAME, and end their sessions.

    You are asked for the password, or it is read or generated, as in `user create`.
    """
    password = read_password(from_stdin=password_stdin)
    if password is None:
        refuse_to_hide_a_secret()
    generated = run(
        lambda services: services.user_passwords.set(
            Caller.command_line(), UserRef.by_name(name), password, for_legacy=for_legacy
        )
    )
    sentence = f"Changed the password of {name} and ended their sessions."
    say_with_password(sentence, generated, name)


@user.command("reset-link")
@name_argument
def user_reset_link(name: str) -> None:
    """Print a link where the user NAME sets a new password.

    The link works once, for a limited time, and is shown only now. Earlier links stop working.
    """
    refuse_to_hide_a_secret()
    link = run(
        lambda services: services.user_passwords.make_reset_link(
            Caller.command_line(), UserRef.by_name(name)
        )
    )
    show_link(link)


@user.command("deactivate")
@name_argument
def user_deactivate(name: str) -> None:
    """Deactivate the user NAME, who then can't log in, and end their sessions."""
    was_last_admin = run(
        lambda services: services.users.deactivate(Caller.command_line(), UserRef.by_name(name))
    )
    say(f"Deactivated user {name} and ended their sessions.")
    _warn_of_no_administrator(is_due=was_last_admin)


def _warn_of_no_administrator(*, is_due: bool) -> None:
    if is_due:
        say("Warning: no active user is an administrator now.", file=sys.stderr)


@user.command("activate")
@name_argument
def user_activate(name: str) -> None:
    """Activate the user NAME, who then can log in with the same password as before."""
    run(lambda services: services.users.activate(Caller.command_line(), UserRef.by_name(name)))
    say(f"Activated user {name}.")


@user.command("role")
@name_argument
@click.argument("role", type=ROLE)
def user_role(name: str, role: str) -> None:
    """Change the role of the user NAME. It takes effect at once, in open sessions too."""
    was_last_admin = run(
        lambda services: services.users.change_role(
            Caller.command_line(), UserRef.by_name(name), Role(role)
        )
    )
    say(f"Changed the role of {name} to {role}.")
    _warn_of_no_administrator(is_due=was_last_admin)
