"""One HTTP connection: what a peer may do, how long it may take, and that nothing is left of it."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from agent.api import connection
from agent.api.app import create_app

from .backend import FakeGateway
from .serving import PATIENCE, on_unix, read_all, read_answer

pytestmark = pytest.mark.anyio

PING = b"GET /ping HTTP/1.1\r\nHost: agent\r\n\r\n"


@pytest.fixture
async def path(gateway: FakeGateway, tmp_path: Path) -> AsyncIterator[Path]:
    """A unix socket on which the API is served. Its gateway is not asked for anything."""
    path = tmp_path / "gateway.sock"
    async with on_unix(create_app(gateway), path):
        yield path


def app_of(endpoint: Callable[[Request], Awaitable[Response]]) -> Starlette:
    return Starlette(routes=[Route("/", endpoint, methods=["GET", "PUT"])])


@asynccontextmanager
async def dialing(path: Path) -> AsyncIterator[anyio.abc.SocketStream]:
    with anyio.fail_after(PATIENCE):
        async with await anyio.connect_unix(path) as stream:
            yield stream


async def test_requests_in_one_piece_are_answered_in_their_order(path: Path) -> None:
    async with dialing(path) as stream:
        await stream.send(PING + b"GET /nothing HTTP/1.1\r\nHost: agent\r\n\r\n" + PING)
        first = await read_answer(stream)
        second = await read_answer(stream, first.leftover)
        third = await read_answer(stream, second.leftover)

    assert (first.status, second.status, third.status) == (200, 404, 200)
    assert (first.body, third.body) == (b"pong", b"pong")


async def test_a_request_may_arrive_byte_by_byte(path: Path) -> None:
    async with dialing(path) as stream:
        for byte in PING:
            await stream.send(bytes([byte]))
        answer = await read_answer(stream)

    assert answer.body == b"pong"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # TLS, to the wrong port
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x00" * 100,
        b"GET /ping\r\n\r\n",  # HTTP/0.9
        b"GET /ping HTTP/1.1\r\n\r\n",  # without a Host
        b"GET /ping HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"PUT /tunnels HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n",
    ],
)
async def test_what_is_not_http_is_told_so_and_hung_up_on(path: Path, garbage: bytes) -> None:
    async with dialing(path) as stream:
        await stream.send(garbage)
        answer = await read_answer(stream)
        rest = await read_all(stream)

    assert answer.status in (400, 501)
    assert answer.problem["detail"].startswith("this is not an HTTP/1.1 request")
    assert (answer.headers["connection"], rest) == ("close", b"")


async def test_a_head_without_end_is_not_kept(path: Path) -> None:
    async with dialing(path) as stream:
        await stream.send(b"GET /ping HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (connection.HEAD_LIMIT + 1))
        answer = await read_answer(stream)

    assert answer.status == 431
    assert answer.problem["title"] == "Request Header Fields Too Large"


async def test_garbage_after_an_answered_request_ends_the_connection_and_nothing_else(path: Path) -> None:
    async with dialing(path) as stream:
        await stream.send(PING + b"\x00\x01\x02\r\n\r\n")
        first = await read_answer(stream)
        second = await read_answer(stream, first.leftover)

    assert (first.body, second.status) == (b"pong", 400)


async def test_garbage_in_a_body_that_was_answered_already_ends_the_connection(path: Path) -> None:
    with capture_logs() as logs:
        async with dialing(path) as stream:
            await stream.send(b"PUT /ping HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            first = await read_answer(stream)
            await stream.send(b"not a length\r\n")
            await read_all(stream)

    assert (first.status, logs) == (405, [])


async def test_a_websocket_is_not_opened(path: Path) -> None:
    async with dialing(path) as stream:
        await stream.send(
            b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        answer = await read_answer(stream)

    assert (answer.status, answer.body) == (200, b"pong")


async def test_a_peer_that_says_nothing_is_not_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_PATIENCE", 0.02)
    async with dialing(path) as stream:
        answer = await read_answer(stream)
        rest = await read_all(stream)

    assert (answer.status, rest) == (408, b"")
    assert answer.problem["detail"] == "no request came within 0.02 s"


async def test_a_peer_that_sends_a_byte_now_and_then_is_not_waited_for_either(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_PATIENCE", 0.05)

    async def trickle(stream: anyio.abc.SocketStream) -> None:
        await stream.send(b"GET /ping HTTP/1.1\r\nHost: a\r\nX: ")
        while True:
            await stream.send(b"x")
            await anyio.sleep(0.001)  # the attack is to be slow

    async with dialing(path) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(_until_broken, trickle, stream)
        answer = await read_answer(stream)
        tasks.cancel_scope.cancel()

    assert answer.status == 408


async def test_the_second_request_of_a_connection_may_be_no_slower(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dialing(path) as stream:
        await stream.send(PING)
        first = await read_answer(stream)
        monkeypatch.setattr(connection, "HEAD_PATIENCE", 0.02)
        await stream.send(PING[:-1])
        second = await read_answer(stream, first.leftover)

    assert (first.status, second.status) == (200, 408)


async def test_a_request_that_is_being_answered_has_all_the_time_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[connection.Connection] = []
    really_make = connection.Connection.connection_made

    def make(self: connection.Connection, transport: Any) -> None:
        really_make(self, transport)
        made.append(self)

    monkeypatch.setattr(connection.Connection, "connection_made", make)
    deadlines: list[float] = []

    async def endpoint(request: Request) -> Response:
        deadlines.append(made[0]._waiting.deadline)
        return PlainTextResponse("")

    async with on_unix(app_of(endpoint), tmp_path / "s"), dialing(tmp_path / "s") as stream:
        await stream.send(PING.replace(b"/ping", b"/"))
        await read_answer(stream)

    assert deadlines == [math.inf]


async def test_a_body_that_stops_in_the_middle_is_not_waited_for(
    gateway: FakeGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.api.body.PATIENCE", 0.02)
    async with on_unix(create_app(gateway), tmp_path / "s"), dialing(tmp_path / "s") as stream:
        await stream.send(b"PUT /tunnels HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n[")
        answer = await read_answer(stream)

    assert answer.status == 408
    assert answer.problem["detail"] == "the body did not arrive within 0.02 s; send it in one piece"


async def test_a_connection_is_not_kept_open_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_PATIENCE", 0.02)
    async with on_unix(app_of(pong), path.with_name("idle")), dialing(path.with_name("idle")) as stream:
        await stream.send(PING.replace(b"/ping", b"/"))
        await read_answer(stream)

        assert await read_all(stream) == b""


async def test_a_peer_that_does_not_take_its_answer_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "IDLE_PATIENCE", 0.02)
    monkeypatch.setattr(connection, "GRACE", 0.02)
    hung_up = anyio.Event()
    really_lose = connection.Connection.connection_lost

    def lose(self: connection.Connection, exc: Exception | None) -> None:
        really_lose(self, exc)
        hung_up.set()

    monkeypatch.setattr(connection.Connection, "connection_lost", lose)

    async def large(request: Request) -> Response:
        return PlainTextResponse(b"x" * 50_000_000)

    async with on_unix(app_of(large), tmp_path / "s"), dialing(tmp_path / "s") as stream:
        await stream.send(PING.replace(b"/ping", b"/"))
        await hung_up.wait()
        assert len(await read_all(stream)) < 50_000_000  # what the kernel has taken, and then the end


async def test_a_peer_that_goes_away_while_it_is_answered_is_no_news(tmp_path: Path) -> None:
    reached, released = anyio.Event(), anyio.Event()

    async def slow(request: Request) -> Response:
        reached.set()
        await released.wait()
        return PlainTextResponse("to nobody")

    with capture_logs() as logs:
        async with on_unix(app_of(slow), tmp_path / "s"):
            async with dialing(tmp_path / "s") as stream:
                await stream.send(PING.replace(b"/ping", b"/"))
                await reached.wait()
            await anyio.wait_all_tasks_blocked()
            released.set()
            await anyio.wait_all_tasks_blocked()

    assert logs == []


async def test_a_peer_that_goes_away_in_the_middle_of_its_body_is_no_news(path: Path) -> None:
    with capture_logs() as logs:
        async with dialing(path) as stream:
            await stream.send(b"PUT /tunnels HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n[")
            await anyio.wait_all_tasks_blocked()
        await anyio.wait_all_tasks_blocked()

    assert logs == []


async def pong(request: Request) -> Response:
    return PlainTextResponse(json.dumps("pong"))


async def _until_broken(
    send: Callable[[anyio.abc.SocketStream], Awaitable[None]], stream: anyio.abc.SocketStream
) -> None:
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        await send(stream)
