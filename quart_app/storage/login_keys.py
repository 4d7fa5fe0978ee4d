"""Fill in missing login keys, which find a user by any spelling of the name or address."""

from typing import Final

from sqlalchemy import Connection, bindparam, select, update

from quart_app.model import LARGEST_ID, User
from quart_app.text.login_names import email_key, name_key

_BATCH_ROWS: Final = 1000
_BEFORE_EVERY_ID: Final = -LARGEST_ID - 1
_USERS: Final = User.table()


def fill_missing_keys(connection: Connection) -> None:
    """Write the keys of users without them, whom a process of an older version created."""
    columns = _USERS.c
    lacking = (
        select(columns.id, columns.username, columns.email)
        .where(columns.username_key.is_(None))
        .order_by(columns.id)
        .limit(_BATCH_ROWS)
    )
    fill = (
        update(_USERS)
        .where(columns.id == bindparam("whose"))
        .values(username_key=bindparam("of_username"), email_key=bindparam("of_email"))
    )
    last = _BEFORE_EVERY_ID
    while rows := connection.execute(lacking.where(columns.id > last)).all():
        keys = [
            {
                "whose": row.id,
                "of_username": name_key(str(row.username)),
                "of_email": email_key(str(row.email)),
            }
            for row in rows
        ]
        connection.execute(fill, keys)
        last = rows[-1].id
