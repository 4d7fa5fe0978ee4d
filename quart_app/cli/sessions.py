"""`python -m quart_app sessions`: the sessions of users."""

import click

from quart_app.cli.arguments import check_utf8, name_argument
from quart_app.cli.use_cases import run
from quart_app.services.administration.user_ref import UserRef
from quart_app.services.caller import Caller
from quart_app.terminal import say


@click.group()
def sessions() -> None:
    """List and end sessions that are alive."""


@sessions.command("list")
@name_argument
def sessions_list(name: str) -> None:
    """List where the user NAME is logged in: logins not ended and within their limit."""
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
@click.option("--all", "everybodys", is_flag=True, help="End everybody's.")
def sessions_end(name: str | None, *, everybodys: bool) -> None:
    """End every session of the user NAME, or with --all of everybody.

    --all is for a restored database. A key that has leaked must be replaced: whoever has it signs
    sessions that began later.
    """
    if everybodys == (name is not None):
        raise click.UsageError("Give either a NAME or --all.")
    if name is None:
        run(lambda services: services.session_administration.end_everybodys(Caller.command_line()))
        say("Every session is over; everybody logs in again.")
    else:
        run(
            lambda services: services.session_administration.end_all_of(
                Caller.command_line(), UserRef.by_name(name)
            )
        )
        say(f"Every session of {name} is over.")
