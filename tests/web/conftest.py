"""Fixtures for tests of pages, in addition to those for every test."""

import pytest
from quart import Quart
from quart.typing import TestClientProtocol as Client

from quart_app.model import Role
from quart_app.services import Services
from tests.callers import NOBODY
from tests.conftest import PASSWORD, Member, log_in


@pytest.fixture
async def root(app: Quart, browser: Client, services: Services) -> Client:  # noqa: ARG001 logs in first
    """A browser with a session of an administrator, user 2; the member is user 1."""
    await services.users.create(
        NOBODY, username="root", email="root@example.com", role=Role.ADMIN, password=PASSWORD
    )
    client = app.test_client()
    await log_in(client, Member(2, "root", PASSWORD, (0, 0, 0)))
    return client
