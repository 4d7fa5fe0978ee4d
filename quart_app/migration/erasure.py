"""No way back: erase the older application's password hashes, in one transaction."""

from quart_app.migration.engine import Engine
from quart_app.migration.facts import SESSIONS, Standing
from quart_app.migration.inspection import look
from quart_app.migration.outcome import Refused
from quart_app.migration.way_back import erase_kept_hashes

_FIRST = "Migrate the database first. Nothing was changed."


def refuse_erasure(standing: Standing) -> None:
    """Raise Refused where the database is not migrated, or was restored."""
    if standing.refusal is not None:
        raise Refused(standing.refusal)
    if standing.sessions is not None:
        raise Refused(f"The older application's table {SESSIONS} is still there. {_FIRST}")
    if standing.revision != standing.newest_revision:
        at = standing.revision or "the older application's"
        raise Refused(f"The schema is {at}, and {standing.newest_revision} is needed. {_FIRST}")


def erase_hashes(engine: Engine) -> None:
    """Erase and commit. Raises Refused, Busy, Failed or Interrupted."""
    with engine.writing() as connection:
        try:
            refuse_erasure(look(engine, connection))
            erase_kept_hashes(connection)
            engine.commit(connection, to_find_out="--no-return --check tells whether it happened")
        except BaseException:
            engine.interruption.let_go()
            raise
