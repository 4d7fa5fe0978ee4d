"""The table that records removals, written in the transaction that removes.

No schema revision makes it: only a database that had the older application's sessions has it.
"""

import sqlalchemy as sa
from sqlalchemy import Connection

from quart_app.migration.facts import Removal
from quart_app.migration.outcome import Refused
from quart_app.model import UtcDateTime

RECORD_TABLE = "quart_app_migration"
ID_LENGTH = 32
SHA256_DIGITS = 64
_LATER = {"backup_sha256", "backup_bytes"}
_removals = sa.Table(
    RECORD_TABLE,
    sa.MetaData(),
    sa.Column("id", sa.String(ID_LENGTH), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),  # their order: a clock may be set back
    sa.Column("removed_at", UtcDateTime, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("backup", sa.Text),
    sa.Column("restored_at", UtcDateTime),
    # Authentication of the backup. Earlier versions lack these columns.
    sa.Column("backup_sha256", sa.String(SHA256_DIGITS)),
    sa.Column("backup_bytes", sa.BigInteger),
)


def removals(connection: Connection) -> tuple[Removal, ...]:
    """Return the removals, the oldest first; raises Refused if the table is not ours."""
    present = _columns(connection)
    if not present:
        return ()
    if not set(_removals.c.keys()) - _LATER <= present:
        raise Refused(f"There is a table {RECORD_TABLE} that is not this application's.")
    known = [column for column in _removals.c if column.name in present]
    rows = connection.execute(sa.select(*known).order_by(_removals.c.number))
    return tuple(
        Removal(
            row.id,
            row.removed_at,
            row.rows,
            row.backup,
            row.restored_at,
            getattr(row, "backup_sha256", None),
            getattr(row, "backup_bytes", None),
        )
        for row in rows
    )


def _columns(connection: Connection) -> set[str]:
    inspector = sa.inspect(connection)
    if not inspector.has_table(RECORD_TABLE):
        return set()
    return {each["name"] for each in inspector.get_columns(RECORD_TABLE)}


def write_down(connection: Connection, removal: Removal) -> None:
    """Record a removal."""
    _removals.create(connection, checkfirst=True)
    for name in _LATER - _columns(connection):
        kind = _removals.c[name].type.compile(connection.dialect)
        connection.execute(sa.text(f"ALTER TABLE {RECORD_TABLE} ADD COLUMN {name} {kind}"))
    connection.execute(
        _removals.insert().values(
            id=removal.id,
            number=sa.select(
                sa.func.coalesce(sa.func.max(_removals.c.number), 0) + 1
            ).scalar_subquery(),
            removed_at=removal.removed_at,
            rows=removal.rows,
            backup=removal.backup,
            backup_sha256=removal.backup_sha256,
            backup_bytes=removal.backup_bytes,
            restored_at=None,
        )
    )


def write_down_restoration(connection: Connection, removal: Removal) -> None:
    """Record that the removed table is restored."""
    connection.execute(
        _removals.update()
        .where(_removals.c.id == removal.id)
        .values(restored_at=removal.restored_at)
    )
