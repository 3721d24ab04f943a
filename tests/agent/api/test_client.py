"""Asking an agent that runs on this machine."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import httpx2
import pytest

from agent.api import client
from agent.api.admin_socket import ADMIN_SOCKET
from agent.api.app import create_app
from agent.api.client import AgentUnreachableError, NoAgentError, RefusedError, fetch_status, reload
from agent.process.own_socket import bind_own_socket

from .backend import FakeGateway, running
from .serving import on_unix

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def saying(path: Path, answer: bytes, *, hangs: bool = False) -> AsyncIterator[None]:
    """Something that listens and gives everybody the same answer, whatever they say."""

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            if hangs:
                await anyio.sleep_forever()
            await stream.send(answer)

    async with await anyio.create_unix_listener(path) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield
        tasks.cancel_scope.cancel()


def http(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def test_the_status_of_an_agent_arrives_as_it_was_given(gateway: FakeGateway, tmp_path: Path) -> None:
    async with running(gateway), on_unix(create_app(gateway), tmp_path / "s"):
        assert await fetch_status(tmp_path / "s") == gateway.status()


async def test_a_reload_is_asked_for_and_its_report_arrives(gateway: FakeGateway, tmp_path: Path) -> None:
    async with running(gateway), on_unix(create_app(gateway), tmp_path / "s"):
        before = gateway.loop.status.turn
        report = await reload(tmp_path / "s")

    assert (report.generation, report.accepted, report.in_force) == (1, True, True)
    assert gateway.loop.status.turn > before


async def test_an_error_of_the_agent_has_its_status_and_what_it_says(tmp_path: Path) -> None:
    body = '{"status": 400, "detail": "no"}'
    async with saying(tmp_path / "s", http("400 Bad Request", body)):
        with pytest.raises(RefusedError) as caught:
            await reload(tmp_path / "s")

    assert (caught.value.status, caught.value.detail) == (400, "no")


@pytest.mark.parametrize("make", ["nothing", "a dead socket", "a file", "nothing in a file"])
async def test_where_no_agent_runs_a_command_that_starts_one_is_told(tmp_path: Path, make: str) -> None:
    path = tmp_path / "s"
    if make == "a dead socket":
        bind_own_socket(path, ADMIN_SOCKET).close()
    elif make == "a file":
        path.write_text("")
    elif make == "nothing in a file":
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "s"

    with pytest.raises(NoAgentError) as caught:
        await fetch_status(path, start="tidegate gateway gateway.yaml")

    assert str(caught.value) == f"no agent runs at {path}: start it with: tidegate gateway gateway.yaml"


async def test_a_socket_of_another_user_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # root may connect to everything, so the refusal is made up; what anyio and httpx2 make of it is not.
    async def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(anyio, "connect_unix", refuse)

    with pytest.raises(AgentUnreachableError, match="belongs to another user"):
        await fetch_status(tmp_path / "s")


async def test_a_path_that_no_socket_can_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(AgentUnreachableError, match="too long; is it the right path"):
        await fetch_status(tmp_path / ("x" * 200))


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail ESMTP\r\n\r\n",
        http("200 OK", "pong"),
        http("200 OK", '{"role": "relay"}'),
        http("200 OK", "[]"),
    ],
)
async def test_something_else_that_answers_is_not_taken_for_an_agent(tmp_path: Path, answer: bytes) -> None:
    async with saying(tmp_path / "s", answer):
        with pytest.raises(AgentUnreachableError, match="is not an agent of this version"):
            await fetch_status(tmp_path / "s")


async def test_an_error_of_the_agent_is_passed_on(tmp_path: Path) -> None:
    for body in ('{"status": 500, "detail": "a defect"}', "a defect"):
        path = tmp_path / f"s{len(body)}"
        async with saying(path, http("500 Internal Server Error", body)):
            with pytest.raises(AgentUnreachableError, match='refuses: 500 "a defect"'):
                await fetch_status(path)


async def test_an_agent_that_hangs_up_may_be_stopping(tmp_path: Path) -> None:
    async with saying(tmp_path / "s", b""):
        with pytest.raises(AgentUnreachableError, match="hung up: it may be stopping"):
            await fetch_status(tmp_path / "s")


async def test_an_agent_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.02)
    async with saying(tmp_path / "s", b"", hangs=True):
        with pytest.raises(AgentUnreachableError, match=r"does not answer within 0\.02 s: look at its log"):
            await fetch_status(tmp_path / "s")


async def test_a_proxy_of_the_network_is_not_asked(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with running(gateway), on_unix(create_app(gateway), tmp_path / "s"):
        assert isinstance(await fetch_status(tmp_path / "s"), type(gateway.status()))


def test_every_error_is_one_of_ours() -> None:
    assert issubclass(NoAgentError, AgentUnreachableError)
    assert not issubclass(AgentUnreachableError, httpx2.HTTPError)
