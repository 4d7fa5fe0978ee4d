"""The application as served, which writes every statement that SQLite executes to a file.

Served by `hypercorn 'tests.tracing:create_app()'`. SQLite itself reports each statement, whichever
library opened the connection.
"""

import os
import sqlite3
from itertools import count
from typing import Any

from quart import Quart

from quart_app import app

TRACE_FILE = "TRACE_FILE"  # the environment variable with the file's path


def create_app() -> Quart:
    """Return the application, in a process whose later connections are traced."""
    trace = os.open(os.environ[TRACE_FILE], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    numbers, connect = count(), sqlite3.connect

    def connect_traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        number = next(numbers)

        def write(statement: str) -> None:
            os.write(trace, f"{number} {' '.join(statement.split())}\n".encode())

        connection.set_trace_callback(write)
        return connection

    for module in (sqlite3, sqlite3.dbapi2):
        vars(module)["connect"] = connect_traced
    return app.create_app()
