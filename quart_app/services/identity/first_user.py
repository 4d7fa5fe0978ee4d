"""First user: whether one exists yet, for the login page of a fresh installation."""

from quart_app.errors import Unavailable
from quart_app.storage import users as stored_users
from quart_app.storage.database import Database


class FirstUser:
    """Queries the database until it has found a user, and never again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._has_been_seen = False

    async def is_missing(self) -> bool:
        """Return whether there is no user. False if the database does not answer."""
        if self._has_been_seen:
            return False
        try:
            async with self._database.read() as db:
                self._has_been_seen = await stored_users.is_there_a_user(db)
        except Unavailable:
            return False
        return not self._has_been_seen
