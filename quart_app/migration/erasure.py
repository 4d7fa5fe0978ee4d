"""The option --no-return: erase the older application's password hashes, in one transaction."""

from contextlib import ExitStack

from quart_app.migration.engine import Engine
from quart_app.migration.facts import SESSIONS, DatabaseState
from quart_app.migration.inspection import inspect
from quart_app.migration.outcome import Refused
from quart_app.migration.progress import Reporter
from quart_app.migration.way_back import erase_kept_hashes

_FIRST = "Migrate the database first. Nothing was changed."


def refuse_erasure(state: DatabaseState) -> None:
    """Raise Refused where the database is not migrated, or was restored."""
    if state.refusal is not None:
        raise Refused(state.refusal)
    if state.sessions is not None:
        raise Refused(f"The older application's table {SESSIONS} is still there. {_FIRST}")
    if state.revision != state.newest_revision:
        at = f"at revision {state.revision}" if state.revision else "the older application's"
        raise Refused(f"The schema is {at}, and must be at {state.newest_revision}. {_FIRST}")


def erase_hashes(engine: Engine, reporter: Reporter) -> None:
    """Erase and commit. Raises Refused, Busy, Failed or Interrupted."""
    with ExitStack() as stack:
        with reporter.step("waiting for the database"):
            connection = stack.enter_context(engine.writing())
        try:
            refuse_erasure(inspect(engine, connection))
            with reporter.step("erasing"):
                erase_kept_hashes(connection)
            engine.commit(
                connection, to_find_out="run --no-return --check to find out whether it succeeded"
            )
        except BaseException:
            engine.interruption.disarm()
            raise
