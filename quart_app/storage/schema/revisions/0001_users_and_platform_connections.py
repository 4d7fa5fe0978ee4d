"""Create users and platform_connections, as the older application had them.

In a database of the older application, both tables exist with their rows. There, only missing
columns and indexes are added.
"""

import sqlalchemy as sa
from alembic import op

from quart_app.storage.schema import SchemaRefused

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The columns that identify a table of the older application; other columns can be added.
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
    """Create missing tables, columns and indexes."""
    inspector = sa.inspect(op.get_bind())
    standing = set(inspector.get_table_names())
    for table in _tables().sorted_tables:
        _refuse_another_spelling(standing, table.name)
        if table.name not in standing:
            table.create(op.get_bind())
            continue
        _refuse_another(inspector, table.name)
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in columns:
                op.add_column(table.name, sa.Column(column.name, column.type))
        if "is_active" not in columns:
            # Nothing could be switched off before, so every row was active.
            op.execute(table.update().values(is_active=True))
        _add_missing_indexes(inspector, table)


def _refuse_another_spelling(standing: set[str], name: str) -> None:
    """Refuse a table whose name differs from ours only in case.

    For SQLite it is the same table. On PostgreSQL an empty table would be created beside it.
    """
    for other in standing - {name}:
        if other.lower() == name:
            raise SchemaRefused(
                f"The name of the table {other} must be in lower case: rename it to {name}."
                " Nothing was changed."
            )


def _refuse_another(inspector: sa.Inspector, name: str) -> None:
    """Refuse a table that has the right name but is not the older application's."""
    columns = {column["name"] for column in inspector.get_columns(name)}
    lacking = sorted(_ESSENTIAL[name] - columns)
    if not lacking and inspector.get_pk_constraint(name)["constrained_columns"] != ["id"]:
        lacking = ["id as its primary key"]
    if lacking:
        raise SchemaRefused(
            f"The table {name} is not the older application's:"
            f" it lacks {', '.join(lacking)}. Nothing was changed."
        )


def _add_missing_indexes(inspector: sa.Inspector, table: sa.Table) -> None:
    """Add each index or unique constraint, unless one under any name is at least as strict.

    A less strict one under our name is replaced.
    """
    indexes = [
        index
        for index in inspector.get_indexes(table.name)
        if not any(option.endswith("_where") for option in index.get("dialect_options", {}))
    ]
    standing = [(tuple(index["column_names"]), bool(index["unique"])) for index in indexes]
    standing += [
        (tuple(constraint["column_names"]), True)
        for constraint in inspector.get_unique_constraints(table.name)
    ]
    for name, names, unique in _indexes(table):
        if any(names == columns and strict >= unique for columns, strict in standing):
            continue
        if name in {index["name"] for index in indexes}:
            op.drop_index(name, table.name)
        try:
            if name.startswith("uq_") and op.get_bind().dialect.name == "postgresql":
                op.create_unique_constraint(name, table.name, list(names))
            else:  # SQLite can't add a constraint to a table, but a unique index is equivalent
                op.create_index(name, table.name, list(names), unique=unique)
        except sa.exc.IntegrityError:
            raise SchemaRefused(
                f"Two rows of {table.name} have the same {', '.join(names)}. Nothing was changed."
            ) from None


def _indexes(table: sa.Table) -> list[tuple[str, tuple[str, ...], bool]]:
    """Return name, columns and uniqueness of the table's indexes and unique constraints."""
    wanted: list[sa.Index | sa.UniqueConstraint] = [*table.indexes]
    wanted += [each for each in table.constraints if isinstance(each, sa.UniqueConstraint)]
    return sorted(
        (
            str(each.name),
            tuple(column.name for column in each.columns),
            isinstance(each, sa.UniqueConstraint) or each.unique,
        )
        for each in wanted
    )
