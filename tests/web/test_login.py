"""Logging in and out, by page and by JSON."""

from typing import Any

import pytest
from quart.typing import TestClientProtocol as Client

from tests.conftest import Member, log_in, set_cookies


async def test_the_right_password_logs_in(visitor: Client, member: Member) -> None:
    state = await log_in(visitor, member)
    assert state["user_id"] == member.id
    assert state["platform_connection_id"] == member.platform_ids[0]
    again = await visitor.get("/api/session_state")
    assert again.status_code == 200
