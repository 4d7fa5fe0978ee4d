"""A process that serves loads no library before it needs it (docs/performance.md)."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from quart_app.settings import Settings
from tests.servers import ROOT, environ_of

# Only commands, migrations, hashes, requests to other servers or names of browsers need these.
LATE: Final = {
    "alembic": "upgrades of the schema",
    "argon2": "the first hash of the older application",
    "authlib": "the first request to another server",
    "httpcore2": "the first request to another server",
    "httpx2": "the first request to another server",
    "mako": "upgrades of the schema",
    "nacl": "the first hash",
    "quart_app.cli": "commands",
    "quart_app.migration": "commands",
    "rich": "commands",
    "ua_parser": "the first page with names of browsers",
}
ANSWER_ONCE: Final = f"""
import asyncio, sys
from quart_app.app import create_app

async def main():
    app = create_app()
    async with app.test_app():
        answer = await app.test_client().get("/login", headers={{"Host": "127.0.0.1:8000"}})
        print(answer.status_code, sorted(sys.modules.keys() & {set(LATE)!r}))

asyncio.run(main())
"""


def test_a_process_that_serves_has_loaded_no_library_that_it_may_never_need(
    settings: Settings, tmp_path: Path
) -> None:
    served = subprocess.run(
        [sys.executable, "-c", ANSWER_ONCE],
        cwd=tmp_path,
        env={**os.environ, **environ_of(settings), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert served.stdout == "200 []\n", served.stderr


def test_garbage_is_collected_again_once_the_modules_are_loaded() -> None:
    asked = "import gc, quart_app.app; print(gc.isenabled())"
    loaded = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "True\n", loaded.stderr
