"""`python -m quart_app sessions`: list and end users' sessions."""

import click

from quart_app.cli.arguments import check_utf8, name_argument
from quart_app.cli.use_cases import run
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.caller import Caller
from quart_app.terminal import say


@click.group()
def sessions() -> None:
    """List and end sessions."""


@sessions.command("list")
@name_argument
def sessions_list(name: str) -> None:
    """List the sessions of the user NAME that have not ended."""
    _, logins = run(
        lambda services: services.users.get(Caller.command_line(), UserRef.by_name(name))
    )
    if not logins:
        say(f"{name} is not logged in anywhere.")
    for each in logins:
        since, until = (f"{at:%Y-%m-%d %H:%M} UTC" for at in (each.created_at, each.expires_at))
        where = each.address or "an unknown address"
        agent = each.user_agent or "unknown"
        say(each.id, f"since {since}", f"until {until}", where, agent)


@sessions.command("end")
@click.argument("name", callback=check_utf8, required=False)
@click.option("--all", "of_all_users", is_flag=True, help="End the sessions of all users.")
def sessions_end(name: str | None, *, of_all_users: bool) -> None:
    """End all sessions of the user NAME, or of all users.

    Use --all after you restored the database. It does not help if the secret key has leaked:
    replace the key, because anyone who has it can sign new sessions.
    """
    if of_all_users == (name is not None):
        raise click.UsageError("Give either a NAME or --all.")
    if name is None:
        run(lambda services: services.session_administration.end_everybodys(Caller.command_line()))
        say("Ended all sessions of all users. Everyone must log in again.")
    else:
        run(
            lambda services: services.session_administration.end_all_of(
                Caller.command_line(), UserRef.by_name(name)
            )
        )
        say(f"Ended all sessions of {name}.")
