"""Make users and platform_connections where they don't stand yet, as they were before.

In a database of the older application they stand already, with every row: then only a column or
an index that one of them lacks is added.
"""

import sqlalchemy as sa
from alembic import op

from quart_app.storage.schema import SchemaRefused

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# What a table must have to be the one we know; the other columns can be added.
_ESSENTIAL = {
    "users": {"id", "username", "email", "password_hash"},
    "platform_connections": {
        "id",
        "user_id",
        "name",
        "platform_type",
        "instance_url",
        "access_token",
    },
}


def _tables() -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table(
        "users",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("username", sa.String(64), nullable=False),
        sa.Column("email", sa.String(120), nullable=False),
        sa.Column("password_hash", sa.String(256), nullable=False),
        sa.Column("role", sa.String(9)),
        sa.Column("is_active", sa.Boolean),
        sa.Column("created_at", sa.DateTime),
        sa.Column("last_login", sa.DateTime),
        sa.Index("ix_users_username", "username", unique=True),
        sa.Index("ix_users_email", "email", unique=True),
    )
    sa.Table(
        "platform_connections",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("platform_type", sa.String(50), nullable=False),
        sa.Column("instance_url", sa.String(500), nullable=False),
        sa.Column("username", sa.String(200)),
        sa.Column("access_token", sa.Text, nullable=False),
        sa.Column("client_key", sa.Text),
        sa.Column("client_secret", sa.Text),
        sa.Column("is_active", sa.Boolean),
        sa.Column("is_default", sa.Boolean),
        sa.Column("created_at", sa.DateTime),
        sa.Column("updated_at", sa.DateTime),
        sa.Column("last_used", sa.DateTime),
        sa.UniqueConstraint("user_id", "name", name="uq_user_platform_name"),
        sa.UniqueConstraint(
            "user_id", "instance_url", "username", name="uq_user_instance_username"
        ),
        sa.Index("ix_platform_user_active", "user_id", "is_active"),
        sa.Index("ix_platform_type_active", "platform_type", "is_active"),
        sa.Index("ix_platform_instance_type", "instance_url", "platform_type"),
    )
    return metadata


def upgrade() -> None:
    """Make what is missing."""
    inspector = sa.inspect(op.get_bind())
    standing = set(inspector.get_table_names())
    for table in _tables().sorted_tables:
        if table.name not in standing:
            table.create(op.get_bind())
            continue
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        if lacking := sorted(_ESSENTIAL[table.name] - columns):
            raise SchemaRefused(
                f"The table {table.name} is not one that we know: "
                f"it lacks {', '.join(lacking)}. Nothing was changed."
            )
        for column in table.columns:
            if column.name not in columns:
                op.add_column(table.name, sa.Column(column.name, column.type))
        _add_missing_indexes(inspector, table)


def _add_missing_indexes(inspector: sa.Inspector, table: sa.Table) -> None:
    """Add an index where none, of whatever name, covers the same columns as strictly."""
    standing = [
        (tuple(index["column_names"]), bool(index["unique"]))
        for index in inspector.get_indexes(table.name)
    ]
    standing += [
        (tuple(constraint["column_names"]), True)
        for constraint in inspector.get_unique_constraints(table.name)
    ]
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        names = tuple(column.name for column in index.columns)
        if any(names == columns and unique >= index.unique for columns, unique in standing):
            continue
        try:
            index.create(op.get_bind())
        except sa.exc.IntegrityError:
            raise SchemaRefused(
                f"Two rows of {table.name} have the same {', '.join(names)}. Nothing was changed."
            ) from None
