"""`python -m quart_app user`: the people who log in."""

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
    """Administer the people who log in."""


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
        refuse_to_hide_a_secret()
        made = run(
            lambda services: services.users.create_with_link(
                Caller.command_line(), username=name, email=email, role=Role(role)
            )
        )
        show_link(made, before=f"User {made.username} is created, as {role}.")
        return
    password = read_password(from_stdin=password_stdin)
    if password is None:
        refuse_to_hide_a_secret()
    created, generated = run(
        lambda services: services.users.create(
            Caller.command_line(), username=name, email=email, role=Role(role), password=password
        )
    )
    sentence = f"User {created.username} is created, as {created.role.value}."
    say_with_password(sentence, generated, created.username)


@user.command("list")
def user_list() -> None:
    """List every user."""
    users = run(lambda services: services.users.everybody(Caller.command_line()))
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
@name_argument
@password_stdin_option
@click.option(
    "--for-legacy",
    is_flag=True,
    help="Store it so that the older application reads it, after a migration was restored.",
)
def user_passwd(name: str, *, password_stdin: bool, for_legacy: bool) -> None:
    """Give a user another password, and end their sessions.

    It is asked for, piped or generated as by `user create`.
    """
    password = read_password(from_stdin=password_stdin)
    if password is None:
        refuse_to_hide_a_secret()
    generated = run(
        lambda services: services.user_passwords.set(
            Caller.command_line(), UserRef.by_name(name), password, for_legacy=for_legacy
        )
    )
    sentence = f"The password of {name} is changed, and their sessions are over."
    say_with_password(sentence, generated, name)


@user.command("reset-link")
@name_argument
def user_reset_link(name: str) -> None:
    """Print a link by which a user sets a password: it works once, and the command says until when.

    It is shown this once, and makes void any that was made before.
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
    """Let a user log in no more, and end their sessions."""
    was_last_admin = run(
        lambda services: services.users.deactivate(Caller.command_line(), UserRef.by_name(name))
    )
    say(f"User {name} is deactivated, and their sessions are over.")
    _warn_of_no_administrator(is_due=was_last_admin)


def _warn_of_no_administrator(*, is_due: bool) -> None:
    if is_due:
        say("Warning: no active user is an administrator any more.", file=sys.stderr)


@user.command("activate")
@name_argument
def user_activate(name: str) -> None:
    """Let a user log in again who was deactivated; the password is the one they had."""
    run(lambda services: services.users.activate(Caller.command_line(), UserRef.by_name(name)))
    say(f"User {name} is active.")


@user.command("role")
@name_argument
@click.argument("role", type=ROLE)
def user_role(name: str, role: str) -> None:
    """Give a user another role, which holds at once. Their sessions go on."""
    was_last_admin = run(
        lambda services: services.users.change_role(
            Caller.command_line(), UserRef.by_name(name), Role(role)
        )
    )
    say(f"The role of {name} is {role}.")
    _warn_of_no_administrator(is_due=was_last_admin)
