"""An open page while the process that it is connected to is replaced."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Response

from quart_app.settings import Settings
from tests.browser.conftest import IN_ONE_LOOP, OpenPage
from tests.browser.test_tabs import enter
from tests.processes import new_user
from tests.restarts import service

MOVED_WITHIN_SECONDS = 5

pytestmark = [IN_ONE_LOOP, pytest.mark.alone, pytest.mark.sqlite_unless_thorough]


async def test_the_stream_of_a_page_moves_to_the_new_process(
    settings: Settings, tmp_path: Path, open_page: OpenPage, measured: Callable[[str], None]
) -> None:
    name = await asyncio.to_thread(new_user, settings)
    opened: asyncio.Queue[float] = asyncio.Queue()

    def note(response: Response) -> None:
        if "session_events" in response.url and response.ok:
            opened.put_nowait(time.monotonic())

    took = []
    with service(settings, tmp_path) as served:
        page = await open_page()
        page.on("response", note)
        await enter(page, f"http://127.0.0.1:{served.port}", name, "/account")
        await asyncio.wait_for(opened.get(), 20)
        for _ in range(3):
            await asyncio.to_thread(served.start)
            since = time.monotonic()
            stopping = asyncio.create_task(asyncio.to_thread(served.stop_oldest))
            took.append(await asyncio.wait_for(opened.get(), 20) - since)
            await stopping
            assert opened.empty()
        ended = [process.returncode for process in served.processes[:-1]]
    measured(f"an open page had its stream at the new process after {max(took):.1f} s at most")
    assert max(took) < MOVED_WITHIN_SECONDS
    assert ended == [0, 0, 0]
