# SPDX-License-Identifier: Apache-2.0
"""A real server on a unix socket, over a controller in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from api.client import Api
from fakes.controller import FakeController

from lb.api.server import Server, serve


@pytest.fixture
def controller() -> FakeController:
    return FakeController()


@pytest.fixture
async def server(controller: FakeController, tmp_path: Path) -> AsyncIterator[Server]:
    server = await serve(controller, f"unix://{tmp_path}/lbd.sock")
    yield server
    await server.stop(0)


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    api = Api(f"unix://{server.path}")
    yield api
    await api.channel.close()
