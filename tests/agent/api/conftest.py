"""A gateway to ask, and callers to ask it as."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from agent.api.app import create_app
from agent.api.identity import Caller, on_unix_socket
from schemas.names import ClientId

from .backend import BLOG, GATEWAY, FakeGateway, running
from .serving import calling, on_unix


@pytest.fixture
def gateway(tmp_path: Path) -> FakeGateway:
    """A gateway whose file declares one tunnel, blog on port 443. Its loop does not run yet."""
    gateway = FakeGateway(tmp_path / "gateway.yaml")
    gateway.write(GATEWAY, BLOG)
    return gateway


@pytest.fixture
async def http(gateway: FakeGateway, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """A caller of the running gateway's unix socket."""
    path = tmp_path / "gateway.sock"
    async with running(gateway), on_unix(create_app(gateway), path), calling(path) as client:
        yield client


@pytest.fixture
def admin() -> Caller:
    return on_unix_socket(None)


@pytest.fixture
def homelab() -> Caller:
    return client("homelab")


@pytest.fixture
def office() -> Caller:
    return client("office")


def client(name: str) -> Caller:
    return Caller(name=name, client=ClientId(name), is_admin=False)
