"""The table in which a removal is written down, in the transaction that removes.

Not one of the schema's revisions: only a database that had the older application's sessions has it.
"""

import sqlalchemy as sa
from sqlalchemy import Connection

from quart_app.migration.facts import Removal
from quart_app.migration.outcome import Refused
from quart_app.model import UtcDateTime

RECORD_TABLE = "quart_app_migration"
ID_LENGTH = 32
_removals = sa.Table(
    RECORD_TABLE,
    sa.MetaData(),
    sa.Column("id", sa.String(ID_LENGTH), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),  # their order: a clock may be set back
    sa.Column("removed_at", UtcDateTime, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("backup", sa.Text),
    sa.Column("restored_at", UtcDateTime),
)


def removals(connection: Connection) -> tuple[Removal, ...]:
    """Return what was removed, the oldest first; raises Refused for a table of somebody else's."""
    inspector = sa.inspect(connection)
    if not inspector.has_table(RECORD_TABLE):
        return ()
    if {each["name"] for each in inspector.get_columns(RECORD_TABLE)} != set(_removals.c.keys()):
        raise Refused(f"A table {RECORD_TABLE} stands there and is not this application's.")
    rows = connection.execute(sa.select(_removals).order_by(_removals.c.number))
    return tuple(
        Removal(row.id, row.removed_at, row.rows, row.backup, row.restored_at) for row in rows
    )


def write_down(connection: Connection, removal: Removal) -> None:
    """Write down a removal."""
    _removals.create(connection, checkfirst=True)
    connection.execute(
        _removals.insert().values(
            id=removal.id,
            number=sa.select(
                sa.func.coalesce(sa.func.max(_removals.c.number), 0) + 1
            ).scalar_subquery(),
            removed_at=removal.removed_at,
            rows=removal.rows,
            backup=removal.backup,
            restored_at=None,
        )
    )


def write_down_restoration(connection: Connection, removal: Removal) -> None:
    """Write down that what was removed is there again."""
    connection.execute(
        _removals.update()
        .where(_removals.c.id == removal.id)
        .values(restored_at=removal.restored_at)
    )
