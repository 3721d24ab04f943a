"""The HTTP stack is loaded once, for whoever calls first, and a failure of that costs a connection."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from starlette.types import ASGIApp
from structlog.testing import capture_logs

from agent.api.app import create_app
from agent.api.identity import on_unix_socket
from agent.api.loading import Connections, load_app

from .backend import FakeGateway
from .serving import calling, on_unix_loading, read_all

pytestmark = pytest.mark.anyio


async def test_many_who_call_first_at_the_same_time_make_it_load_once(gateway: FakeGateway) -> None:
    loaded: list[ASGIApp] = []

    def load() -> ASGIApp:
        loaded.append(create_app(gateway))
        return loaded[-1]

    connections = Connections(load)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(connections.make, on_unix_socket)

    assert len(loaded) == 1


async def test_a_caller_is_hung_up_on_if_loading_fails_and_the_next_one_is_served(
    gateway: FakeGateway, tmp_path: Path
) -> None:
    path = tmp_path / "s"

    failures = [ImportError("a name that only another version has")]

    def load() -> ASGIApp:
        if failures:
            raise failures.pop()
        return load_app(gateway)

    with capture_logs() as logs:
        async with on_unix_loading(load, path):
            async with await anyio.connect_unix(path) as first:
                assert await read_all(first) == b""
            async with calling(path) as http:
                assert (await http.get("/ping")).text == "pong"

    assert [(line["event"], line["log_level"]) for line in logs] == [("api_load_failed", "error")]
