"""Add authorizations at Fediverse servers, apps registered there, and the accounts behind them."""

import sqlalchemy as sa
from alembic import op

from quart_app.storage.schema import SchemaRefused

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# SQLite counts rows by themselves only in a column whose type is INTEGER to the letter.
_BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TABLES = ("avatars", "platform_accounts", "platform_apps", "platform_authorizations")


def upgrade() -> None:
    """Create the four tables. Raises SchemaRefused if one of the names is in use."""
    for name in _TABLES:
        if name in sa.inspect(op.get_bind()).get_table_names():
            raise SchemaRefused(
                f"There already is a table {name}, and it is not this application's."
                " Nothing was changed."
            )
    _create_platform_accounts()
    _create_avatars()
    _create_platform_authorizations()
    _create_platform_apps()


def _connection_id() -> sa.Column[int]:
    return sa.Column(
        "platform_connection_id",
        sa.Integer,
        sa.ForeignKey("platform_connections.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )


def _create_platform_accounts() -> None:
    op.create_table(
        "platform_accounts",
        _connection_id(),
        sa.Column("host", sa.String(261)),
        sa.Column("account_id", sa.String(255)),
        sa.Column("display_name", sa.String(255)),
        sa.Column("profile_url", sa.String(500)),
        sa.Column("software", sa.String(64)),
        sa.Column("scopes", sa.String(1000)),
        sa.Column("token_expires_at", sa.DateTime),
        sa.Column("refresh_token", sa.Text),
        sa.Column("refresh_began_at", sa.DateTime),
        sa.Column("reconnect_needed_since", sa.DateTime),
        sa.Column("problem", sa.String(32)),
        sa.Column("failed_checks", sa.Integer, nullable=False),
        sa.Column("checked_at", sa.DateTime),
        sa.Column("next_check_at", sa.DateTime),
        sa.Column("avatar_digest", sa.String(16)),
    )
    op.create_index("ix_platform_accounts_identity", "platform_accounts", ["host", "account_id"])
    op.create_index("ix_platform_accounts_next_check", "platform_accounts", ["next_check_at"])


def _create_avatars() -> None:
    op.create_table(
        "avatars",
        _connection_id(),
        sa.Column("content_type", sa.String(16), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )


def _create_platform_authorizations() -> None:
    op.create_table(
        "platform_authorizations",
        sa.Column("id", _BIG_ID, primary_key=True),
        sa.Column(
            "user_id",
            sa.Integer,
            sa.ForeignKey("users.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("state_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("expires_at", sa.DateTime, nullable=False, index=True),
        sa.Column("platform_connection_id", sa.Integer),
        sa.Column("host", sa.String(261), nullable=False),
        sa.Column("software", sa.String(64)),
        sa.Column("scope", sa.String(1000)),
        sa.Column("client_id", sa.Text),
        sa.Column("client_secret", sa.Text),
        sa.Column("code_verifier", sa.Text),
        sa.Column("returned_at", sa.DateTime),
        sa.Column("failed_at", sa.DateTime),
        sa.Column("access_token", sa.Text),
        sa.Column("refresh_token", sa.Text),
        sa.Column("granted_scopes", sa.String(1000)),
        sa.Column("token_expires_at", sa.DateTime),
        sa.Column("account_id", sa.String(255)),
        sa.Column("username", sa.String(200)),
        sa.Column("display_name", sa.String(255)),
        sa.Column("profile_url", sa.String(500)),
        sa.Column("avatar_type", sa.String(16)),
        sa.Column("avatar", sa.LargeBinary),
    )


def _create_platform_apps() -> None:
    op.create_table(
        "platform_apps",
        sa.Column("id", _BIG_ID, primary_key=True),
        sa.Column("host", sa.String(261), nullable=False),
        sa.Column("redirect_uri", sa.Text, nullable=False),
        sa.Column("scope", sa.String(1000), nullable=False),
        sa.Column("started_at", sa.DateTime, nullable=False, index=True),
        sa.Column("is_shared", sa.Boolean, nullable=False),
        sa.Column("is_under_way", sa.Boolean, nullable=False),
        sa.Column("client_id", sa.Text),
        sa.Column("client_secret", sa.Text),
    )
    op.create_index("ix_platform_apps_host_started_at", "platform_apps", ["host", "started_at"])
